"""A line's region of interest: the part of the picture that is inspected (method.md section 3 item 9).

What lies outside is painted over before the tower sees it, because a token looks far beyond its own patch, and
its places are left out of bank, statistics and map. So nothing that happens outside can move a score.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import adaptive_max_pool2d

from core.errors import EnrolmentError
from core.gaussian_blur import gaussian_blur
from core.image import Image

Roi = npt.NDArray[np.uint8]
"""(S, S) of 0 and 1, S the encoder's image size; 1 is inspected."""

PAINT = 128
"""Mid-grey: near the mean of every preset, so that the painted edge is a mild one."""


def region_of_interest(mask: npt.NDArray[np.generic], *, source_size: tuple[int, ...], size: int) -> Roi:
    """A mask (H, W), bool or any number where not 0 is inspected, at the encoder's size.

    source_size: (H, W) of the samples. Raises EnrolmentError for another size and for a mask of nothing.
    """
    if mask.shape != source_size:
        height, width = source_size
        raise EnrolmentError(f"expected a region of {width}x{height} pixels as the samples, got {_extent(mask)}")
    roi = cv2.resize((mask != 0).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    if not roi.any():
        raise EnrolmentError("the region of interest is empty: nothing would be inspected")
    return np.asarray(roi, dtype=np.uint8)


def painted(image: Image, roi: Roi | None) -> Image:
    """(H, W, 3) uint8 with grey in place of what is not inspected; the picture itself without a region."""
    if roi is None:
        return image
    inside = cv2.resize(roi, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.where(inside[..., None] != 0, image, np.uint8(PAINT))


def places_inside(roi: Roi | None, grid: tuple[int, int], device: torch.device) -> torch.Tensor | None:
    """(h, w) bool: the places with an inspected pixel, so that a defect at the rim still counts. None: all do."""
    if roi is None:
        return None
    pixels = torch.from_numpy(roi).to(device).float()[None]
    return adaptive_max_pool2d(pixels, grid)[0] > 0


def kept(values: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """(N, h * w, ...) values of places, (N, P, ...) of those inside."""
    return values if inside is None else values[:, inside.flatten()]


def blanked(maps: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """(N, H, W) maps, 0 outside (H, W)."""
    return maps if inside is None else torch.where(inside, maps, 0.0)


def smoothed(distances: torch.Tensor, sigma: float, inside: torch.Tensor | None) -> torch.Tensor:
    """Blur (N, h, w) by `sigma` places; what lies outside lends nothing to the rim."""
    if inside is None or sigma == 0.0:
        return gaussian_blur(distances, sigma)
    weight = inside[None].to(distances)
    return gaussian_blur(distances * weight, sigma) / gaussian_blur(weight, sigma).clamp_min(1e-9)


def _extent(mask: npt.NDArray[np.generic]) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}" if mask.ndim == 2 else f"an array of shape {mask.shape}"
