"""Defects that add or take matter: every function returns the picture with one defect.

(rng, picture (S, S, 3) 0..1, region (S, S) bool where the product is, strength 0..1) -> picture. A strength of 1
is as clear as the defect gets, 0.05 hardly to be seen. Lengths are thought out at 384 pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.synthetic import noise, strokes
from core.synthetic.noise import Colour, Field, Picture, Region


def scratch(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """One to three thin, nearly straight lines, bright or dark."""
    size = len(region)
    px = noise.unit(size)
    paths = []
    for _ in range(int(rng.integers(1, 4))):
        start, bend = strokes.place(rng, region), rng.uniform(0, 0.12)
        path = strokes.walk(rng, start, rng.uniform(40, 220) * px, steps=12, bend=bend)
        paths.append((path, rng.uniform(1.0, 5.0) * px))
    return _shift(picture, strokes.lines(paths, size), _either(rng) * strength)


def crack(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A dark jagged line with branches."""
    size = len(region)
    px = noise.unit(size)
    length = rng.uniform(60, 220) * px
    trunk = strokes.walk(rng, strokes.place(rng, region), length, steps=18, bend=rng.uniform(0.3, 0.6))
    paths = [(trunk, rng.uniform(1.5, 5) * px)]
    for _ in range(int(rng.integers(0, 4))):
        fork = trunk[int(rng.integers(len(trunk)))]
        paths.append((strokes.walk(rng, fork, 0.4 * length, steps=8, bend=0.45), 1.2 * px))
    return _shift(picture, strokes.lines(paths, size), -strength)


def hole(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """An opening onto a dark or bright ground, with a frayed rim."""
    radius = _radius(rng, region, 7, 36)
    inside = strokes.blob(rng, region, radius, rough=rng.uniform(0.05, 0.4))
    ground = noise.colour(rng, 0.02, 0.2) if rng.random() < 0.7 else noise.colour(rng, 0.8, 0.95)
    rim = noise.blur(inside, 0.15 * radius) * (1 - inside)
    opened = _blend(picture, inside, ground, 0.25 + 0.75 * strength)
    return _shift(opened, rim, 0.5 * _either(rng) * strength)


def stain(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A soft discoloured patch, as of oil or water; the structure shows through."""
    radius = _radius(rng, region, 14, 70)
    inside = strokes.blob(rng, region, radius, soft=rng.uniform(0.1, 0.8) * radius)
    tint = 1 - strength * (0.3 + 0.7 * rng.random(3)) * (0.9 if rng.random() < 0.8 else -0.6)
    return _clip(picture * (1 + inside[..., None] * (tint - 1).astype(np.float32)))


def colour_spot(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """Paint or ink: a spot of another colour with a clear rim."""
    inside = strokes.blob(rng, region, _radius(rng, region, 7, 40), soft=1.5)
    return _blend(picture, inside, noise.colour(rng, 0.1, 0.9, 1.0), strength)


def specks(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """Contamination: a cluster of small grains."""
    size = len(region)
    px = noise.unit(size)
    centre, spread = strokes.place(rng, region), rng.uniform(8, 60) * px
    grains = []
    for _ in range(int(rng.integers(3, 30))):
        at = centre + rng.normal(0, spread, 2)
        path = strokes.walk(rng, at, rng.uniform(0.2, 4) * px, steps=2, bend=0.8)
        grains.append((path, rng.uniform(2, 7) * px))
    return _blend(picture, strokes.lines(grains, size), noise.colour(rng, 0.05, 0.95), strength)


def fibre(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A foreign hair or thread, curled, with its shadow."""
    size = len(region)
    px = noise.unit(size)
    start, bend = strokes.place(rng, region), rng.uniform(0.05, 0.3)
    path = strokes.walk(rng, start, rng.uniform(60, 280) * px, steps=30, bend=bend)
    width = rng.uniform(1.5, 6) * px
    shadow = noise.blur(strokes.lines([(path + width, width)], size), width)
    laid = _shift(picture, shadow, -0.25 * strength)
    return _blend(laid, strokes.lines([(path, width)], size), noise.colour(rng, 0.05, 0.95), strength)


def missing_part(rng: np.random.Generator, picture: Picture, region: Region, strength: float) -> Picture:
    """A piece broken off, straight or ragged: what is under or behind the product shows there."""
    size = len(region)
    radius = _radius(rng, region, 16, 55)
    inside = strokes.blob(rng, region, radius, rough=rng.uniform(0.0, 0.3), soft=1.0)
    background = picture[~region]
    behind = np.median(background, axis=0) if len(background) > 0.1 * size**2 else noise.colour(rng, 0.05, 0.95)
    ground = behind * (1 + 0.02 * noise.grain(rng, size)[..., None])
    share = (inside * (0.3 + 0.7 * strength) * region)[..., None]
    return _clip(picture + share * (ground - picture))


def _radius(rng: np.random.Generator, region: Region, low: float, high: float) -> float:
    """A radius in pixels, small ones as likely as large ones on a log scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) * noise.unit(len(region))


def _either(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))


def _shift(picture: Picture, share: Field, amount: float) -> Picture:
    """Brighter or darker by `amount` where `share` is 1."""
    return _clip(picture + np.float32(amount) * share[..., None])


def _blend(picture: Picture, share: Field, colour: Colour, strength: float) -> Picture:
    """Towards `colour` where `share` is 1, all the way at strength 1."""
    return _clip(picture + np.float32(strength) * share[..., None] * (colour - picture))


def _clip(picture: npt.NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(picture, 0, 1), np.float32)
