"""A mask to the square of a map, as Pillow resizes an 8-bit grey picture: bit for bit, without Pillow or torch.

Pillow filters across, rounds to whole levels, filters down, rounds again; weights are 22-bit fixed point. The
published pixel figures are on masks made so, and their threshold of one half lies on the edge of every defect.
(From version 13 on Pillow goes down first where that is less work, as in tall pictures; the papers' did not. The
two ways are at most one level apart.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_WHOLE = 1 << 22
"""Fixed-point one of Pillow's 8-bit resize."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taps:
    """Which `K` positions of `before` make each of `after`, and with which weight; both (after, K)."""

    positions: npt.NDArray[np.intp]
    weights: npt.NDArray[np.int64]


def squash_mask(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """(H, W) to (size, size), true where more than half is defect: level 128 of 255 and above."""
    levels = mask.astype(np.uint8) * np.uint8(255)
    across = _resized(levels.T, size).T
    return np.asarray(_resized(across, size) > 127)


def _resized(levels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """(N, M) to (size, M): bilinear with antialias along the first axis."""
    taps = _taps(levels.shape[0], size)
    rows = np.ascontiguousarray(levels)
    total = np.full((size, rows.shape[1]), _WHOLE // 2, dtype=np.int32)  # rounds to the nearest level
    for position, weight in zip(taps.positions.T, taps.weights.T, strict=True):
        total += rows[position] * weight[:, None].astype(np.int32)
    return (total // _WHOLE).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _taps(before: int, after: int) -> _Taps:
    """A triangle as wide as a squashed pixel (of a pixel where it grows), cut at the border, summing to one."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.intp), before)
    positions = first[:, None] + np.arange((last - first).max())
    distance = np.abs(positions + 0.5 - centres[:, None]) / reach
    triangle = np.where(positions < last[:, None], np.maximum(1.0 - distance, 0.0), 0.0)
    triangle /= triangle.sum(axis=1, keepdims=True)
    return _Taps(positions=np.minimum(positions, before - 1), weights=(triangle * _WHOLE + 0.5).astype(np.int64))
