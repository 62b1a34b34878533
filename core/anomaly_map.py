"""Stage maps to one pixel map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def upsample(grids: torch.Tensor, size: int) -> torch.Tensor:
    """(N, h, w) to (N, size, size), bilinear with the corners aligned (method.md section 1)."""
    return F.interpolate(grids[:, None], size=(size, size), mode="bilinear", align_corners=True)[:, 0]


def sum_of_stages(stage_grids: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    """Per-stage (N, h_s, w_s) maps to the (N, size, size) sum of their upsampled forms."""
    total = upsample(stage_grids[0], size)
    for grids in stage_grids[1:]:
        total += upsample(grids, size)
    return total
