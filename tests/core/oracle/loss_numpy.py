"""APRIL-GAN's training loss as method.md states it: two channels, float64, one pixel's formula at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.core.oracle.arrays import Floats


def focal_loss(probabilities: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """probabilities: (N, 2, S, S), normal first, summing to one. mask: (N, S, S), True at defects."""
    onehot = np.stack([~mask, mask], axis=1).astype(np.float64)
    q = np.clip(onehot, 1e-5, 1 - 1e-5)
    pt = (q * probabilities).sum(axis=1) + 1e-5
    return float(np.mean(-((1 - pt) ** 2) * np.log(pt)))


def dice_loss(abnormal: Floats, mask: npt.NDArray[np.bool_]) -> float:
    """abnormal: (N, S, S), the abnormal channel."""
    overlaps = []
    for p, g in zip(abnormal, mask.astype(np.float64), strict=True):
        overlaps.append((2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1))
    return float(1 - np.mean(overlaps))
