"""The arithmetic that every part of the oracle shares: norms, softmax and the two resamplings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def unit(vectors: Floats) -> Floats:
    """The vectors (..., C) at length one."""
    lengths: Floats = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths


def softmax(logits: Floats, axis: int = -1) -> Floats:
    """Shares that sum to one along `axis`; a logit of minus infinity gets none."""
    powers: Floats = np.exp(logits - logits.max(axis=axis, keepdims=True))
    total: Floats = powers.sum(axis=axis, keepdims=True)
    return powers / total


def bilinear(grids: Floats, size: tuple[int, int], *, align_corners: bool) -> Floats:
    """Stretch grids (..., h, w) to (..., H, W) along straight lines between the grid's samples.

    With `align_corners` the corner samples of both grids coincide; without it the outer edges of the two
    grids' cells do, and a place beyond the outermost sample takes that sample's value.
    """
    rows = _bilinear_matrix(grids.shape[-2], size[0], align_corners=align_corners)
    columns = _bilinear_matrix(grids.shape[-1], size[1], align_corners=align_corners)
    return rows @ grids @ columns.T


def _bilinear_matrix(before: int, after: int, *, align_corners: bool) -> Floats:
    """Weights (after, before) of each old sample in each new one."""
    if align_corners:
        places = np.linspace(0.0, before - 1.0, after) if after > 1 else np.zeros(1)
    else:
        places = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0.0, before - 1.0)
    distances = np.abs(places[:, None] - np.arange(before)[None, :])
    return np.maximum(0.0, 1.0 - distances)


def bicubic_antialiased(grids: Floats, size: tuple[int, int]) -> Floats:
    """Resize grids (..., h, w) to (..., H, W) as torch does with mode bicubic, antialias, no aligned corners.

    That is Pillow's resampling: a cubic of a = -0.5 (torch's bicubic without antialias has -0.75), widened by
    the scale when it shrinks, cut off at the border and scaled to sum to one there.
    """
    rows = _bicubic_matrix(grids.shape[-2], size[0])
    columns = _bicubic_matrix(grids.shape[-1], size[1])
    return rows @ grids @ columns.T


def _bicubic_matrix(before: int, after: int) -> Floats:
    """Weights (after, before) of each old sample in each new one."""
    scale = before / after
    width = max(scale, 1.0)
    matrix = np.zeros((after, before))
    for new in range(after):
        centre = (new + 0.5) * scale
        first = max(int(centre - 2 * width + 0.5), 0)
        last = min(int(centre + 2 * width + 0.5), before)
        old = np.arange(first, last, dtype=np.float64)
        weights = _cubic((old + 0.5 - centre) / width)
        matrix[new, first:last] = weights / weights.sum()
    return matrix


def _cubic(distance: Floats, a: float = -0.5) -> Floats:
    """Keys' cubic convolution kernel."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
