"""APRIL-GAN's text branch: linear layers that bring every stage's tokens into the text's space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import linear, normalize

from core.adapter import Adapter, centred
from core.anomaly_map import upsample
from core.encoder import Encoder
from core.features import Features
from core.image import Image
from core.text import Embed, april_gan_text_features
from core.zero_shot import TEMPERATURE


class AprilGan:
    """The zero-shot branch of arXiv 2305.17382, section 2.1.

    The softmax over two states is a sigmoid of the logits' difference, and upsampling is linear, so one channel
    is upsampled instead of two: the same map for half the work. Logits first, softmax after.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def text_features(self, embed: Embed, object_name: str) -> torch.Tensor:
        """The prompt ensemble's."""
        return april_gan_text_features(embed, object_name)

    def encode(self, encoder: Encoder, images: Sequence[Image]) -> Features:
        """The ordinary forward pass."""
        return encoder.encode(images)

    def logits(self, features: Features, text: torch.Tensor) -> list[torch.Tensor]:
        """Per stage (N, h, w): `100 t . (F_abnormal - F_normal)` of the projected unit tokens t."""
        adapter = self._adapter
        return [
            self._stage_logits(tokens, weight, bias, text).reshape(-1, *grid)
            for tokens, grid, weight, bias in zip(
                features.stages, features.grids, adapter.weights, adapter.biases, strict=True
            )
        ]

    def grids(self, features: Features, text: torch.Tensor) -> list[torch.Tensor]:
        """The logits: where probabilities are 0 or 1 to the last bit, these still tell places apart."""
        return self.logits(features, text)

    def stage_maps(self, features: Features, text: torch.Tensor, size: int) -> list[torch.Tensor]:
        """Upsampled logits, then the softmax; in [0, 1]."""
        return [torch.sigmoid(upsample(logits, size)) for logits in self.logits(features, text)]

    def finish(self, summed: torch.Tensor) -> torch.Tensor:
        """Nothing: the paper does not smooth."""
        return summed

    def _stage_logits(
        self, tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        tokens = centred(tokens.float()) if self._adapter.header.centred else tokens.float()
        projected = normalize(linear(tokens, weight, bias), dim=-1)
        return TEMPERATURE * (projected @ (text[1] - text[0]))
