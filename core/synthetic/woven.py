"""Fabrics: threads over and under each other, loops, pile. Every function draws one picture.

look: chooses what the product is (weave, colours, thread widths, direction) and is the same for every picture of
a product; rng: what differs from piece to piece (place, irregular yarn, noise). Returns (S, S, 3) float32 in 0..1.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from core.synthetic import noise
from core.synthetic.noise import Field, Picture

_PLAIN = np.array([[1, 0], [0, 1]], bool)
_BASKET = np.kron(_PLAIN, np.ones((2, 2), bool))
_TWILL = np.array([[(column + row) % 4 < 2 for column in range(4)] for row in range(4)])
_SATIN = np.array([[(column - 2 * row) % 5 != 0 for column in range(5)] for row in range(5)])
_HERRINGBONE = np.concatenate([np.tile(_TWILL, (1, 2)), np.tile(_TWILL[:, ::-1], (1, 2))], axis=1)


def plain_weave(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Over one, under one."""
    return _weave(look, rng, size, _PLAIN)


def basket_weave(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Over two, under two, in pairs."""
    return _weave(look, rng, size, _BASKET)


def twill(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Diagonal ribs, as in denim."""
    return _weave(look, rng, size, _TWILL)


def satin(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Long floats, few crossings."""
    return _weave(look, rng, size, _SATIN)


def herringbone(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Twill that turns back every eight threads."""
    return _weave(look, rng, size, _HERRINGBONE)


def gauze(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Open net of thin threads over a dark or bright ground."""
    period = look.uniform(9, 26) * noise.unit(size)
    share = look.uniform(0.2, 0.5)
    u, v = noise.plane(look, rng, size, wobble=look.uniform(0, 0.25) * period)
    ground = noise.colour(look)
    thread = noise.shade_of(look, ground, look.uniform(0.4, 0.9))
    gap = np.minimum(_ripple(u, period), _ripple(v, period))
    return noise.paint((share - gap) / share * 1.6 + 0.05 * noise.grain(rng, size), ground, thread)


def knit(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Columns of V-shaped loops."""
    period = look.uniform(12, 32) * noise.unit(size)
    u, v = noise.plane(look, rng, size, wobble=look.uniform(0.05, 0.3) * period)
    across = u / period - np.floor(u / period)
    along = v / (period * look.uniform(0.5, 0.8)) + look.uniform(0.5, 1.1) * np.abs(across - 0.5)
    loop = np.sin(np.pi * along) ** 2 * np.sin(2 * np.pi * across) ** 2
    loop = loop + noise.per_item(rng, np.floor(along).astype(np.int32), look.uniform(0, 0.1))
    base = noise.colour(look)
    yarn = loop + look.uniform(0.03, 0.12) * noise.smooth(rng, size, 2)
    return noise.paint(yarn, base * np.float32(look.uniform(0.3, 0.75)), base)


def pile(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Tufts of a carpet: small bright blobs, in rows or at random."""
    tuft = look.uniform(5, 13) * noise.unit(size)
    labels, distance = noise.cells(rng, size, tuft)
    height = 1 - distance / tuft + noise.per_item(rng, labels, look.uniform(0.05, 0.25))
    base = noise.colour(look)
    fibres = look.uniform(0.05, 0.2) * noise.grain(rng, size)
    return noise.paint(height + fibres, base * np.float32(look.uniform(0.2, 0.6)), base)


def felt(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Pressed fibres in all directions."""
    base = noise.colour(look)
    length = look.uniform(8, 22) * noise.unit(size)
    thick = 1.5 * noise.unit(size)
    fibres = noise.smooth(rng, size, (thick, length)) + noise.smooth(rng, size, (length, thick))
    fibres = fibres + 0.5 * noise.smooth(rng, size, 2 * length)
    return noise.paint(0.5 + look.uniform(0.1, 0.3) * fibres, base, noise.shade_of(look, base, 0.4))


def _weave(
    look: np.random.Generator, rng: np.random.Generator, size: int, pattern: npt.NDArray[np.bool_]
) -> Picture:
    """Threads of two directions; pattern[i, j] says whether thread i along v lies over thread j along u."""
    period = math.exp(look.uniform(math.log(3.5), math.log(16))) * noise.unit(size)
    uneven = look.uniform(0.02, 0.3)
    u, v = noise.plane(look, rng, size, wobble=look.uniform(0, 0.3) * period)
    warp = u / period + uneven * noise.smooth(rng, size, (size / 2, 2 * period))
    weft = v / (period * look.uniform(0.75, 1.4)) + uneven * noise.smooth(rng, size, (2 * period, size / 2))
    i, j = np.floor(warp).astype(np.int32), np.floor(weft).astype(np.int32)
    over = pattern[i % pattern.shape[0], j % pattern.shape[1]]
    across, along = warp - np.floor(warp), weft - np.floor(weft)
    spread = look.uniform(0.0, 0.1)
    first = _thread(across, along) * (1 + noise.per_item(rng, i, spread))
    second = _thread(along, across) * (1 + noise.per_item(rng, j, spread))
    fuzz = look.uniform(0.01, 0.08) * noise.smooth(rng, size, 1.5)
    base = noise.colour(look)
    other = noise.shade_of(look, base, look.uniform(0.0, 0.5)) if look.random() < 0.6 else base
    threads = np.where(over[..., None], first[..., None] * base, second[..., None] * other)
    return np.asarray(np.clip(threads * (1 + fuzz[..., None]), 0, 1), np.float32)


def _thread(across: Field, along: Field) -> Field:
    """Brightness of a round thread, 0.35..1, from where in its width and in its float a pixel lies (0..1)."""
    roundness = 1 - (2 * across - 1) ** 2
    ends = 1 - (2 * along - 1) ** 4
    return np.asarray(0.35 + 0.65 * np.sqrt(np.clip(roundness, 0, 1)) * (0.6 + 0.4 * ends), np.float32)


def _ripple(coordinate: Field, period: float) -> Field:
    """Distance to the nearest multiple of `period`, in periods, 0..0.5."""
    share = coordinate / np.float32(period)
    return np.asarray(np.abs(share - np.round(share)), np.float32)
