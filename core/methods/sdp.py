"""CLIP-AD's text branches: SDP, which needs no trained weights, and SDP+ with linear layers (method.md section 2).

Maps are larger where the picture is more anomalous. SDP's may be negative; each linear layer of SDP+ adds a value
in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from core.adapter import Adapter
from core.dual_path import dual_path
from core.encoder import Encoder
from core.features import Features
from core.gaussian_blur import gaussian_blur
from core.image import Image
from core.methods.april_gan import AprilGan
from core.text import Embed

NORMAL, ABNORMAL = 0, 1
SIGMA = 8.0
"""Pixels of blur; for SDP+ the paper takes it on MVTec and 2 on VisA."""


class Sdp:
    """Feature surgery on the V-V path, stretched, summed and blurred by `sigma` pixels."""

    def __init__(self, *, sigma: float = SIGMA) -> None:
        self._sigma = sigma

    def text_features(self, embed: Embed, object_name: str) -> torch.Tensor:
        """The representative vectors."""
        from core.clip_ad_text import clip_ad_text_features  # its clustering is no business of a worker

        return clip_ad_text_features(embed, object_name)

    def encode(self, encoder: Encoder, images: Sequence[Image]) -> Features:
        """Both paths; the ordinary one's stages are the bits that the encoder's own pass gives."""
        return dual_features(encoder, encoder.preprocess(images))

    def grids(self, features: Features, text: torch.Tensor) -> list[torch.Tensor]:
        """Each stage's feature surgery."""
        return surgery_grids(features, text)

    def stage_maps(self, features: Features, text: torch.Tensor, size: int) -> list[torch.Tensor]:
        """The same, stretched from the outer edges: corners are not aligned."""
        return [_stretched(grid, size) for grid in surgery_grids(features, text)]

    def finish(self, summed: torch.Tensor) -> torch.Tensor:
        """The blur."""
        return gaussian_blur(summed, self._sigma)


class SdpPlus(Sdp):
    """SDP and, on the ordinary path, linear layers that make their maps as APRIL-GAN's do."""

    def __init__(self, adapter: Adapter, *, sigma: float = SIGMA) -> None:
        super().__init__(sigma=sigma)
        self._linear = AprilGan(adapter)

    def grids(self, features: Features, text: torch.Tensor) -> list[torch.Tensor]:
        """Feature surgery and the layers' probabilities, added."""
        probabilities = [torch.sigmoid(logits) for logits in self._linear.logits(features, text)]
        return _added(surgery_grids(features, text), probabilities)

    def stage_maps(self, features: Features, text: torch.Tensor, size: int) -> list[torch.Tensor]:
        """The same at pixels, each part stretched in its own way."""
        return _added(super().stage_maps(features, text, size), self._linear.stage_maps(features, text, size))


def dual_features(encoder: Encoder, pixels: torch.Tensor) -> Features:
    """Both paths' features of normalised pixels (N, 3, S, S). Raises EncoderError for an unfit tower."""
    paths = dual_path(encoder.tower, pixels, encoder.stages)
    return Features(
        stages=tuple(tokens[:, 1:] for tokens in paths.original),
        grids=(paths.grid,) * len(paths.original),
        image=paths.image,
        surgery=paths.features,
    )


def surgery_grids(features: Features, text: torch.Tensor) -> list[torch.Tensor]:
    """Per stage `feature_surgery_map` at its place, (N, h, w)."""
    stages = zip(features.surgery, features.grids, strict=True)
    return [feature_surgery_map(tokens, text).reshape(-1, *grid) for tokens, grid in stages]


def feature_surgery_map(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Two-class feature surgery of one stage, `p_a <f, t_a> - p_n <f, t_n>`: (N, 1 + L, E) to (N, L) float32.

    features: unit length, class token first; `p` is the softmax of that token's own similarities, without a
    temperature. text: (2, E) unit rows, normal first.
    """
    if text.shape != (2, features.shape[-1]):
        raise ValueError(f"expected text features (2, {features.shape[-1]}), got {tuple(text.shape)}")
    similarities = features @ text.T
    shares = similarities[:, 0].softmax(dim=-1)
    weighted = shares[:, None] * similarities[:, 1:]
    return weighted[..., ABNORMAL] - weighted[..., NORMAL]


def _stretched(grids: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(grids[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def _added(ones: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [one + other for one, other in zip(ones, others, strict=True)]
