"""Altered copies of a reference: turned ones for the bank, jittered ones where there is only one reference."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from core.image import Image

JITTERED = 8


def turned(image: Image, fraction: float) -> Image:
    """Turn by a fraction of a full circle about the centre; (H, W, 3) uint8 in and out, mirrored at the border."""
    return _warp(image, degrees=360.0 * fraction, zoom=1.0, shift=(0.0, 0.0))


def jittered(image: Image) -> Iterator[Image]:
    """Eight copies as another part of the same kind might look, always the same for the same picture.

    Turned by up to 3 degrees (half of them by 180 more), zoomed by up to 8 %, shifted by up to 3 %, brightness
    and contrast by up to 5 %.
    """
    rng = np.random.default_rng(0)
    for index in range(JITTERED):
        degrees = rng.uniform(-3.0, 3.0) + (180.0 if index % 2 else 0.0)
        copy = _warp(image, degrees=degrees, zoom=rng.uniform(1.0, 1.08), shift=tuple(rng.uniform(-0.03, 0.03, 2)))
        contrast, brightness = rng.uniform(0.95, 1.05), rng.uniform(-0.05, 0.05) * 255.0
        lit = (copy.astype(np.float32) - 127.5) * contrast + 127.5 + brightness
        yield lit.clip(0.0, 255.0).round().astype(np.uint8)


def _warp(image: Image, *, degrees: float, zoom: float, shift: tuple[float, ...]) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
    matrix[:, 2] += (shift[0] * width, shift[1] * height)
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)
