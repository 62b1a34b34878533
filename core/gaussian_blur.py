"""Gaussian smoothing of pixel maps: SciPy's `gaussian_filter` with its default borders, batched, on any device.

The filter is linear and separable, so for one size it is a matrix B and a blurred map is `B map B^T`. B is
SciPy's own answer for the unit vectors: truncation at four sigma and reflection at the border, also where the
kernel is wider than the map, are SciPy's by construction.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d


def gaussian_blur(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (N, H, W) float maps by `sigma` pixels, 0 for none; shape, dtype and device stay."""
    if not 0.0 <= sigma < float("inf"):
        raise ValueError(f"expected a sigma of 0 pixels or more, got {sigma}")
    if sigma == 0.0:
        return maps
    rows, columns = (blur_matrix(side, sigma).to(maps) for side in maps.shape[1:])
    return rows @ maps @ columns.T


@lru_cache(maxsize=8)
def blur_matrix(size: int, sigma: float) -> torch.Tensor:
    """(size, size) float64 on the CPU, shared: row i holds the weight of every pixel in blurred pixel i."""
    return torch.from_numpy(gaussian_filter1d(np.eye(size), sigma, axis=0))
