"""Defects that move what is there: threads pulled, surfaces dented, rubbed or folded.

Signature and strength as in core.synthetic.marks. Each also shades what it moves a little, as real ones do, so
that it can be seen where the surface itself has no structure to move.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from core.synthetic import noise, strokes
from core.synthetic.noise import Field, Picture, Region


def displaced_line(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A thread or line that slid along itself."""
    inside, direction = strokes.band(rng, region, rng.uniform(4, 14) * noise.unit(len(region)))
    slide = rng.uniform(3, 20) * noise.unit(len(region))
    moved = _moved(picture, inside * np.float32(slide * direction[0]), inside * np.float32(slide * direction[1]))
    return _mix(picture, moved, inside, 0.3 + 0.7 * strength, tint=_tint(rng, strength))


def thick_line(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A slub: a thread or line that is too thick or too thin over some length."""
    width = rng.uniform(6, 18) * noise.unit(len(region))
    inside, direction = strokes.band(rng, region, width)
    right, down = (float(part) for part in (-direction[1], direction[0]))
    soft = noise.blur(inside, width / 4)
    slope = np.gradient(soft)
    swell = (0.3 + 0.5 * strength) * float(rng.choice([-0.5, 1.0])) * width**2
    across = (right * slope[1] + down * slope[0]) * swell
    moved = _moved(picture, across * right, across * down)
    return _mix(picture, moved, np.minimum(2 * soft, 1), 1.0, tint=_tint(rng, strength))


def missing_line(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A thread or line that is not there: the ground shows, smooth and usually darker."""
    width = rng.uniform(2.5, 9) * noise.unit(len(region))
    inside, direction = strokes.band(rng, region, width)
    ground = _rubbed(picture, direction, 4 * width)
    return _mix(picture, ground, inside, 0.4 + 0.6 * strength, tint=rng.choice([-1.2, -1.0, 0.8]) * strength)


def warp(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """The structure pulled, bulged or swirled about a point."""
    size = len(region)
    radius = rng.uniform(14, 48) * noise.unit(size)
    x, y = strokes.place(rng, region).tolist()
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    near = np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / np.float32(radius**2)))
    kind = rng.uniform(0, 2 * np.pi)  # 0 pulls outward, pi / 2 swirls, pi pulls inward
    pull, swirl = (0.3 + 0.6 * strength) * math.cos(kind), (0.3 + 0.6 * strength) * math.sin(kind)
    along, upward = (columns - x) * near, (rows - y) * near
    moved = _moved(picture, pull * along - swirl * upward, pull * upward + swirl * along)
    return _mix(picture, moved, np.minimum(2 * near, 1), 1.0, tint=0.5 * _tint(rng, strength))


def patch(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A piece of the same picture from elsewhere, turned, where it does not belong."""
    size = len(region)
    inside = strokes.blob(rng, region, rng.uniform(8, 36) * noise.unit(size), rough=0.2)
    turn = cv2.getRotationMatrix2D(tuple(strokes.place(rng, region)), float(rng.uniform(30, 330)), 1.0)
    turn[:, 2] = turn[:, 2] + rng.uniform(-0.2, 0.2, 2) * size
    other = cv2.warpAffine(picture, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _mix(picture, np.asarray(other, np.float32), inside, 0.4 + 0.6 * strength, tint=_tint(rng, strength))


def smear(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """Matter rubbed along one direction."""
    size = len(region)
    angle = rng.uniform(0, 2 * np.pi)
    inside = strokes.blob(rng, region, rng.uniform(12, 48) * noise.unit(size), soft=4 * noise.unit(size))
    rubbed = _rubbed(picture, np.array([np.cos(angle), np.sin(angle)]), rng.uniform(15, 50) * noise.unit(size))
    return _mix(picture, rubbed, inside, 0.3 + 0.7 * strength, tint=_tint(rng, strength))


def wear(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A rubbed place: structure flattened, gloss or dullness on it."""
    size = len(region)
    radius = rng.uniform(10, 48) * noise.unit(size)
    inside = strokes.blob(rng, region, radius, soft=0.4 * radius)
    flat = noise.blur(picture, rng.uniform(2, 7) * noise.unit(size))
    return _mix(picture, flat, inside, 0.4 + 0.6 * strength, tint=_tint(rng, strength))


def dent(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A dent or bump, seen by its shading: one side bright, the other dark."""
    size = len(region)
    radius = rng.uniform(7, 40) * noise.unit(size)
    relief = noise.blur(strokes.blob(rng, region, radius, rough=0.15), 0.3 * radius)
    angle, slope = rng.uniform(0, 2 * np.pi), np.gradient(relief)
    light = (math.cos(angle) * slope[1] + math.sin(angle) * slope[0]) * radius
    return _clip(picture * (1 + 1.2 * strength * light[..., None]))


def fold(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A crease: a long line, bright on one side and dark on the other, gently bent."""
    size = len(region)
    length = rng.uniform(80, 400) * noise.unit(size)
    path = strokes.walk(rng, strokes.place(rng, region), length, steps=16, bend=rng.uniform(0.0, 0.08))
    width = rng.uniform(2, 6) * noise.unit(size)
    ridge = noise.blur(strokes.lines([(path, width)], size), width / 2)
    angle, slope = rng.uniform(0, 2 * np.pi), np.gradient(ridge)
    light = (math.cos(angle) * slope[1] + math.sin(angle) * slope[0]) * width + 0.3 * rng.choice([-1, 1]) * ridge
    return _clip(picture * (1 + 1.2 * strength * light[..., None]))


def _tint(rng: np.random.Generator, strength: float) -> float:
    """How much brighter or darker the moved matter looks, at most half the strength."""
    return float(rng.uniform(-0.5, 0.5) * strength)


def _moved(picture: Picture, x: Field, y: Field) -> Picture:
    """The picture with every pixel taken from (x, y) pixels further on."""
    size = len(picture)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    taken = cv2.remap(
        picture,
        np.asarray(columns + x, np.float32),
        np.asarray(rows + y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(taken, np.float32)


def _rubbed(picture: Picture, direction: np.ndarray[tuple[int], np.dtype[np.float64]], length: float) -> Picture:
    """The picture averaged over `length` pixels along `direction`."""
    side = 2 * round(length / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, direction * (side // 2)
    start = tuple(round(middle - part) for part in reach.tolist())
    end = tuple(round(middle + part) for part in reach.tolist())
    cv2.line(kernel, start, end, 1.0, 1)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.float32)


def _mix(picture: Picture, other: Picture, share: Field, strength: float, *, tint: float) -> Picture:
    """Towards `other`, brighter by `tint` (a share of it), where `share` is 1."""
    return _clip(picture + np.float32(strength) * share[..., None] * (other * np.float32(1 + tint) - picture))


def _clip(picture: Picture) -> Picture:
    return np.clip(picture, 0, 1).astype(np.float32)
