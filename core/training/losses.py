"""Focal and dice loss of APRIL-GAN on one stage's map (arXiv 2305.17382 section 2.1; method.md section 1).

The map is the abnormal channel p of a softmax over two states, so the normal channel is 1 - p and the focal loss
over both channels is written with p alone.
"""

from __future__ import annotations

import torch

GAMMA = 2
"""Focal loss's exponent."""
SMOOTH = 1e-5
"""Focal loss: the one-hot mask is clipped to [SMOOTH, 1 - SMOOTH], and SMOOTH is added to its probability."""
DICE_SMOOTH = 1.0
"""Dice loss: added above and below the line."""


def stage_loss(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Focal plus dice, weights 1: a scalar.

    p: (N, S, S) float32, abnormal probability after upsampling, in [0, 1]. mask: (N, S, S) bool, True at defects.
    """
    return focal(p, mask) + dice(p, mask)


def focal(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over pixels of `-(1 - pt)^2 log pt`, `pt = sum_c q_c p_c + 1e-5`, q the clipped one-hot mask."""
    q = mask.to(p.dtype).clamp(SMOOTH, 1 - SMOOTH)
    pt = (1 - q) * (1 - p) + q * p + SMOOTH
    return (-((1 - pt) ** GAMMA) * pt.log()).mean()


def dice(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`1 - mean_i (2 sum(p g) + 1) / (sum p + sum g + 1)`, the sums over each picture's own pixels."""
    p, g = p.flatten(1), mask.to(p.dtype).flatten(1)
    overlap = 2 * (p * g).sum(dim=1) + DICE_SMOOTH
    return 1 - (overlap / (p.sum(dim=1) + g.sum(dim=1) + DICE_SMOOTH)).mean()
