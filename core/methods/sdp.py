"""CLIP-AD's maps: SDP, which needs no trained weights, and SDP+ with linear layers (method.md section 2).

Text features `text` are (2, C) float32 unit rows, normal first. Maps are (N, S, S) float32, larger is more
anomalous; SDP's may be negative, each linear layer of SDP+ adds a value in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from core.anomaly_map import upsample
from core.dual_path import DualPath
from core.gaussian_blur import gaussian_blur

Linear = Callable[[torch.Tensor], torch.Tensor]
"""One stage's trained layer: float32 tokens (N, L, W) to (N, L, C)."""

NORMAL, ABNORMAL = 0, 1
SIGMA = 8.0
"""Pixels of blur; for SDP+ the paper takes it on MVTec and 2 on VisA."""
TEMPERATURE = 100.0
"""Of APRIL-GAN's maps, which SDP+ adds; feature surgery has none."""


def feature_surgery_map(features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Two-class feature surgery of one stage, `p_a <f, t_a> - p_n <f, t_n>`: (N, 1 + L, C) to (N, L).

    features: unit length, class token first; `p` is the softmax of that token's own similarities.
    """
    if text.shape != (2, features.shape[-1]):
        raise ValueError(f"expected text features (2, {features.shape[-1]}), got {tuple(text.shape)}")
    similarities = features @ text.T
    shares = similarities[:, 0].softmax(dim=-1)
    weighted = shares[:, None] * similarities[:, 1:]
    return weighted[..., ABNORMAL] - weighted[..., NORMAL]


def sdp_map(paths: DualPath, text: torch.Tensor, *, size: int, sigma: float = SIGMA) -> torch.Tensor:
    """SDP's maps (N, size, size): the sum of the stages' feature surgery, stretched and blurred."""
    return gaussian_blur(_stretched_surgery(paths, text, size), sigma)


def sdp_plus_map(
    paths: DualPath, text: torch.Tensor, linears: Sequence[Linear], *, size: int, sigma: float = SIGMA
) -> torch.Tensor:
    """SDP+'s maps (N, size, size): SDP's and the original path's linear maps, summed, then blurred together.

    linears: one a stage. Raises ValueError for another number of them.
    """
    total = _stretched_surgery(paths, text, size)
    for tokens, linear in zip(paths.original, linears, strict=True):
        total = total + linear_map(tokens[:, 1:], linear, text, grid=paths.grid, size=size)
    return gaussian_blur(total, sigma)


def linear_map(
    tokens: torch.Tensor, linear: Linear, text: torch.Tensor, *, grid: tuple[int, int], size: int
) -> torch.Tensor:
    """One stage's zero-shot map as APRIL-GAN makes it: raw patch tokens (N, L, W) to (N, size, size) in [0, 1].

    Both classes' logits are stretched before their softmax; of two classes that is the sigmoid of the stretched
    difference.
    """
    aligned = F.normalize(linear(tokens.float()), dim=-1)
    difference = TEMPERATURE * (aligned @ (text[ABNORMAL] - text[NORMAL]))
    return upsample(difference.reshape(-1, *grid), size).sigmoid()


def _stretched_surgery(paths: DualPath, text: torch.Tensor, size: int) -> torch.Tensor:
    summed = torch.stack([feature_surgery_map(features, text) for features in paths.features]).sum(dim=0)
    grids = summed.reshape(-1, 1, *paths.grid)
    return F.interpolate(grids, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
