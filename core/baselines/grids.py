"""Stage tokens to one grid of patches, and a grid of distances to pixels: what the baselines share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from core.anomaly_map import upsample
from core.features import Features
from core.gaussian_blur import gaussian_blur

SMOOTHING = 4.0
"""Sigma in pixels of the Gaussian over a finished map: PatchCore, PaDiM and SPADE all take 4."""


def middle_stages(count: int) -> tuple[int, ...]:
    """Positions of the two middle stages of `count`: not edges, not classes (PatchCore, section 3.1)."""
    return tuple(range(max(count // 2 - 1, 0), count // 2 + 1))


def finest_grid(features: Features, stages: Sequence[int]) -> tuple[int, int]:
    """(h, w) of the stage with most patches, among the stages at these positions."""
    return max((features.grids[stage] for stage in stages), key=lambda grid: grid[0] * grid[1])


def on_one_grid(
    features: Features,
    stages: Sequence[int],
    *,
    neighbourhood: int = 1,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> torch.Tensor:
    """Patches (N, L, sum of C_s) float32 on the finest grid, the stages' raw tokens side by side.

    stages: positions in `features.stages`. neighbourhood: side of the square averaged first, per stage (1: none).
    mode: how coarser stages are brought to the finest grid.
    """
    grid = finest_grid(features, stages)
    planes = [_plane(features, stage, neighbourhood) for stage in stages]
    return torch.cat([_resize(plane, grid, mode) for plane in planes], dim=1).flatten(2).transpose(1, 2)


def to_pixels(grids: torch.Tensor, size: int, sigma: float = SMOOTHING) -> torch.Tensor:
    """(N, h, w) to a smoothed (N, size, size)."""
    return gaussian_blur(upsample(grids, size), sigma)


def _plane(features: Features, stage: int, neighbourhood: int) -> torch.Tensor:
    tokens = features.stages[stage].float()
    plane = tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *features.grids[stage])
    if neighbourhood == 1:
        return plane
    padding = neighbourhood // 2
    return F.avg_pool2d(plane, neighbourhood, stride=1, padding=padding, count_include_pad=False)


def _resize(plane: torch.Tensor, grid: tuple[int, int], mode: str) -> torch.Tensor:
    return plane if plane.shape[2:] == grid else F.interpolate(plane, size=grid, mode=mode)
