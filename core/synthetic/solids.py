"""Outlines, and a bench on which they become lit parts.

An outline is (N, 2) float64, (x, y) in units of the part's radius, centre at 0. Angles in radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from core.synthetic import noise, textures, woven
from core.synthetic.noise import Colour, Field, Picture, Region

Outline: TypeAlias = npt.NDArray[np.float64]

_GROUNDS = (
    textures.paper,
    textures.plastic,
    textures.brushed_metal,
    textures.concrete,
    woven.felt,
    textures.stripes,
)
_GROUND_SHARES = (0.35, 0.25, 0.15, 0.1, 0.1, 0.05)
_SUBPIXEL_BITS = 4


def circle(radius: float, x: float = 0.0, y: float = 0.0) -> Outline:
    """Circle about (x, y)."""
    return np.asarray([x, y] + radius * _around(96))


def polygon(corners: int) -> Outline:
    """Regular polygon with its corners at radius 1."""
    return _around(corners)


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """Upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def stadium(left: float, right: float, half_width: float) -> Outline:
    """Rectangle with round ends, lying along x."""
    cap = half_width * _around(64)
    cap[:, 0] += np.where(cap[:, 0] > 0, right - half_width, left + half_width)
    return cap


def gear_outline(teeth: int, root: float, *, smooth: bool = False) -> Outline:
    """Wheel with teeth between the radii `root` and 1, rounded if `smooth`."""
    ring = _around(teeth * 16)
    phase = np.sin(np.arange(len(ring)) * 2 * np.pi / 16)
    height = (1 + phase) / 2 if smooth else np.clip(0.5 + 2.5 * phase, 0, 1)
    return np.asarray(ring * (root + (1 - root) * height)[:, None])


def wave_outline(left: float, right: float, half_width: float, depth: float, pitch: float) -> Outline:
    """Threaded shank along x, drawn to a point at the right end."""
    x = np.linspace(left, right, 300)
    taper = np.clip((right - x) / (2.5 * half_width), 0, 1)
    edge = (half_width + depth * np.sin(2 * np.pi * x / pitch)) * taper
    return np.concatenate([np.stack([x, edge], 1), np.stack([x, -edge], 1)[::-1]])


@dataclass(slots=True, kw_only=True, eq=False)
class Bench:
    """One part in the making.

    ground, picture: (S, S, 3), without the part and with it. cover: (S, S), 1 where the part is. centre: (x, y)
    and radius in pixels, turn in radians. light: the direction light comes from. shadow: how dark it is, 0..1.
    """

    ground: Picture
    picture: Picture
    cover: Field
    centre: npt.NDArray[np.float64]
    turn: float
    radius: float
    light: float
    shadow: float

    @classmethod
    def lay(cls, look: np.random.Generator, rng: np.random.Generator, size: int) -> Bench:
        """An empty ground, the product's own, and the place where this piece will lie."""
        draw_ground = _GROUNDS[int(look.choice(len(_GROUNDS), p=_GROUND_SHARES))]
        ground = draw_ground(look, rng, size)
        loose = look.uniform(0, np.pi) if look.random() < 0.5 else 0.05
        return cls(
            ground=ground,
            picture=ground.copy(),
            cover=np.zeros((size, size), np.float32),
            centre=size / 2 + rng.normal(0, 0.02, 2) * size,
            turn=float(look.uniform(0, 2 * np.pi) + rng.uniform(-loose, loose)),
            radius=look.uniform(0.28, 0.45) * size * rng.uniform(0.97, 1.03),
            light=float(look.uniform(0, 2 * np.pi)),
            shadow=float(look.uniform(0, 0.5)),
        )

    def add(self, outline: Outline, colour: Colour, *, bevel: float) -> None:
        """Put a solid on top; `bevel` is the width of its rounded edge, in radii."""
        window, share = self._share(outline)
        surface = np.minimum(colour * self._edge_light(share, bevel * self.radius), 1)
        self.picture[window] += share[..., None] * (surface - self.picture[window])
        self.cover[window] = np.maximum(self.cover[window], share)

    def cut(self, outline: Outline) -> None:
        """Cut a hole through to the ground."""
        window, share = self._share(outline)
        ground = self.ground[window] * np.float32(0.85)
        self.picture[window] += share[..., None] * (ground - self.picture[window])
        self.cover[window] = np.minimum(self.cover[window], 1 - share)

    def finish(self, rng: np.random.Generator) -> tuple[Picture, Region]:
        """The picture with the part's shadow and a fine grain, and where the part lies."""
        size = len(self.cover)
        offset = 0.06 * self.radius
        move = np.array([[1, 0, -offset * np.cos(self.light)], [0, 1, -offset * np.sin(self.light)]])
        cast = noise.blur(cv2.warpAffine(self.cover, move, (size, size)).astype(np.float32), 0.05 * self.radius)
        dark = 1 - self.shadow * cast * (1 - self.cover)
        grain = 1 + 0.012 * noise.grain(rng, size)
        return np.clip(self.picture * (dark * grain)[..., None], 0, 1).astype(np.float32), self.cover > 0.5

    def _share(self, outline: Outline) -> tuple[tuple[slice, slice], Field]:
        """A window (rows, columns) about the outline, and how much of each pixel there it covers, 0..1."""
        turned = outline @ np.array(
            [[np.cos(self.turn), np.sin(self.turn)], [-np.sin(self.turn), np.cos(self.turn)]]
        )
        points = self.centre + self.radius * turned
        last = len(self.cover) - 1
        left, top = np.clip(np.floor(points.min(axis=0)).astype(int) - 2, 0, last)
        right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int) + 3, 1, last + 1)
        drawn = np.zeros((max(bottom - top, 1), max(right - left, 1)), np.uint8)
        fixed = np.round((points - (left, top)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(drawn, [fixed], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
        window = slice(top, top + drawn.shape[0]), slice(left, left + drawn.shape[1])
        return window, drawn.astype(np.float32) / np.float32(255)

    def _edge_light(self, share: Field, bevel: float) -> Picture:
        """Light on a rounded edge `bevel` pixels wide: (S, S, 1) around 1."""
        if bevel < 1:
            return np.ones((*share.shape, 1), np.float32)
        inside = cv2.distanceTransform((share > 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        height = np.sqrt(np.clip(1 - (1 - np.minimum(inside / bevel, 1)) ** 2, 0, 1))
        slope = np.gradient(noise.blur(np.asarray(height, np.float32), 0.8))
        light = math.cos(self.light) * slope[1] + math.sin(self.light) * slope[0]
        return np.asarray((1 - 0.35 * np.clip(light * bevel, -1, 1))[..., None], np.float32)


def _around(points: int) -> Outline:
    """Points on the unit circle."""
    angle = np.arange(points) * 2 * np.pi / points
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)
