"""Where a defect lies and what outline it has: soft shapes (S, S) float32, 0 outside to 1 inside.

Every function advances `rng`. `region` is where the product is; defects start on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from core.synthetic import noise
from core.synthetic.noise import Field, Region

_SUBPIXEL_BITS = 4


def place(rng: np.random.Generator, region: Region) -> npt.NDArray[np.float64]:
    """A point (x, y) on the product."""
    rows, columns = np.nonzero(region)
    chosen = int(rng.integers(len(rows)))
    return np.array([columns[chosen], rows[chosen]], np.float64)


def walk(
    rng: np.random.Generator, start: npt.NDArray[np.float64], length: float, *, steps: int, bend: float
) -> npt.NDArray[np.float64]:
    """(steps + 1, 2): a line of `length` pixels from `start` that turns by sd `bend` radians at each step."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, steps))
    step = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (length / steps)
    return np.concatenate([start[None], start + np.cumsum(step, axis=0)])


def lines(paths: Iterable[tuple[npt.NDArray[np.float64], float]], size: int) -> Field:
    """Drawn lines, each with its own width in pixels."""
    drawn, faint = np.zeros((size, size), np.uint8), 1.0
    for points, width in paths:
        scaled = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.polylines(drawn, [scaled], False, 255, max(round(width), 1), cv2.LINE_AA, _SUBPIXEL_BITS)
        faint = min(faint, width)  # below a pixel a line can only get fainter
    return drawn.astype(np.float32) * np.float32(faint / 255)


def blob(
    rng: np.random.Generator, region: Region, radius: float, *, rough: float = 0.35, soft: float = 1.0
) -> Field:
    """An irregular spot of about `radius` pixels, stretched at random; its rim is `soft` pixels wide."""
    size = len(region)
    x, y = place(rng, region).tolist()
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 2.2)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    along = math.cos(angle) * (columns - x) + math.sin(angle) * (rows - y)
    across = math.cos(angle) * (rows - y) - math.sin(angle) * (columns - x)
    distance = np.hypot(along / math.sqrt(stretch), across * math.sqrt(stretch))
    edge = radius * (1 + rough * noise.smooth(rng, size, max(radius * 0.8, 3.0))) - distance
    return np.asarray(np.clip(edge / max(soft, 0.5) + 0.5, 0, 1), np.float32)


def band(rng: np.random.Generator, region: Region, width: float) -> tuple[Field, npt.NDArray[np.float64]]:
    """A straight band through the product, upright, level or oblique, full or part length; and its direction."""
    size = len(region)
    x, y = place(rng, region).tolist()
    angle = float(rng.choice([0.0, np.pi / 2])) if rng.random() < 0.7 else rng.uniform(0, np.pi)
    angle += float(rng.normal(0, 0.02))
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    across = np.abs(math.cos(angle) * (rows - y) - math.sin(angle) * (columns - x))
    along = np.abs(math.cos(angle) * (columns - x) + math.sin(angle) * (rows - y))
    reach = 2.0 * size if rng.random() < 0.4 else rng.uniform(0.1, 0.35) * size
    inside = np.clip(width / 2 - across + 0.5, 0, 1) * np.clip(reach - along + 0.5, 0, 1)
    return inside.astype(np.float32), np.array([np.cos(angle), np.sin(angle)])
