"""Random fields and colours: what every surface and defect is made of.

Fields are (S, S) float32. Lengths are in pixels of the picture at hand; `unit(size)` turns lengths that were
thought out at 384 pixels into its own. `rng` is advanced by every call.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Field: TypeAlias = npt.NDArray[np.float32]
"""(S, S) float32."""
Picture: TypeAlias = npt.NDArray[np.float32]
"""(S, S, 3) float32, RGB, 0..1."""
Region: TypeAlias = npt.NDArray[np.bool_]
"""(S, S) bool."""
Colour: TypeAlias = npt.NDArray[np.float32]
"""(3,) float32, RGB, 0..1."""

_DESIGN_SIZE = 384


def unit(size: int) -> float:
    """Pixels of a picture of `size` for one pixel of a picture of 384."""
    return size / _DESIGN_SIZE


def grain(rng: np.random.Generator, size: int) -> Field:
    """White noise, a standard normal for every pixel."""
    return rng.standard_normal((size, size), dtype=np.float32)


def smooth(rng: np.random.Generator, size: int, cell: float | tuple[float, float]) -> Field:
    """Noise that changes over `cell` pixels, or over (cell_y, cell_x); about standard normal."""
    cells = (cell, cell) if isinstance(cell, int | float) else cell
    rows, columns = (int(np.ceil(size / max(length, 1.0))) + 3 for length in cells)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    shift = rng.random(2)
    matrix = np.array([[cells[1], 0, -cells[1] * (1 + shift[0])], [0, cells[0], -cells[0] * (1 + shift[1])]])
    fine = cv2.warpAffine(coarse, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(fine * 1.3, np.float32)


def fractal(rng: np.random.Generator, size: int, cell: float, *, octaves: int = 4, gain: float = 0.55) -> Field:
    """Sum of `octaves` smooth fields, each half as coarse and `gain` times as strong as the one before."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += np.float32(gain**octave) * smooth(rng, size, max(cell / 2**octave, 1.0))
    return total


def plane(
    look: np.random.Generator, rng: np.random.Generator, size: int, *, wobble: float = 0.0
) -> tuple[Field, Field]:
    """Coordinates (u, v) in pixels along a product's two directions, at a place of its own.

    look: chooses the direction, upright half of the time. rng: the picture's offset and a turn of about a degree.
    wobble: pixels by which the coordinates drift over about a third of the picture.
    """
    angle = float(look.choice([0.0, np.pi / 2]) if look.random() < 0.5 else look.uniform(0, np.pi))
    angle += float(rng.normal(0, 0.015))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    offset = rng.uniform(0, 50 * size, 2)
    u = math.cos(angle) * x + math.sin(angle) * y + np.float32(offset[0])
    v = math.cos(angle) * y - math.sin(angle) * x + np.float32(offset[1])
    if wobble > 0:
        u = u + wobble * smooth(rng, size, size / 3)
        v = v + wobble * smooth(rng, size, size / 3)
    return u, v


def cells(rng: np.random.Generator, size: int, cell: float) -> tuple[npt.NDArray[np.int32], Field]:
    """Voronoi cells about `cell` pixels wide: (the cell of each pixel, its distance to the cell's seed)."""
    count = max(int((size / cell) ** 2), 4)
    seeds = np.full((size, size), 255, np.uint8)
    seeds[rng.integers(0, size, count), rng.integers(0, size, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    return np.asarray(labels, np.int32), np.asarray(distance, np.float32)


def walls(labels: npt.NDArray[np.int32]) -> Field:
    """Distance in pixels of every pixel to the nearest border between two cells."""
    inside = np.full(labels.shape, 255, np.uint8)
    inside[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    inside[1:, :][labels[1:, :] != labels[:-1, :]] = 0
    return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def per_item(rng: np.random.Generator, items: npt.NDArray[np.integer], spread: float) -> Field:
    """A normal value of its own, sd `spread`, for every item (thread, tile, cell); items: (S, S) whole numbers."""
    table = rng.normal(0, spread, 1024).astype(np.float32)
    return np.asarray(table[items % 1024], np.float32)


def blur(picture: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian blur of (S, S) or (S, S, 3) by sigma pixels; none below 0.2."""
    if sigma < 0.2:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def colour(look: np.random.Generator, low: float = 0.15, high: float = 0.9, saturation: float = 0.6) -> Colour:
    """A colour of brightness low..high, grey as often as not, at most `saturation`."""
    brightness = look.uniform(low, high)
    amount = saturation * look.random() ** 2
    hue = look.uniform(0, 2 * np.pi)
    tint = np.cos(hue + np.array([0, 2.1, 4.2]))
    return np.clip(brightness * (1 + amount * tint), 0.02, 0.98).astype(np.float32)


def shade_of(look: np.random.Generator, base: Colour, contrast: float) -> Colour:
    """A colour beside `base`, darker or brighter by about `contrast` and slightly off in hue."""
    step = contrast * float(look.choice([-1.0, 1.0])) * look.uniform(0.6, 1.2)
    return np.clip(base * (1 + step) + look.normal(0, 0.02, 3), 0.02, 0.98).astype(np.float32)


def paint(amount: Field, low: Colour, high: Colour) -> Picture:
    """Picture that goes from colour `low` where `amount` is 0 to `high` where it is 1, clipped."""
    share = np.clip(amount, 0, 1, dtype=np.float32)[..., None]
    return np.asarray(low + share * (high - low), np.float32)
