"""Surfaces that fill the picture and are not woven: natural, cast, printed, laid.

look, rng and what is returned are as in core.synthetic.woven.
"""

from __future__ import annotations

import math

import numpy as np

from core.synthetic import noise
from core.synthetic.noise import Field, Picture


def leather(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Grains parted by fine furrows."""
    cell = look.uniform(6, 20) * noise.unit(size)
    labels, _ = noise.cells(rng, size, cell)
    furrow = np.exp(-noise.walls(labels) / np.float32(cell * look.uniform(0.1, 0.2)))
    relief = noise.blur(1 - furrow, 0.12 * cell) + 0.1 * noise.fractal(rng, size, 8 * cell, octaves=2)
    base = noise.colour(look, 0.15, 0.7)
    return noise.paint(relief + noise.per_item(rng, labels, 0.05), base * np.float32(look.uniform(0.4, 0.8)), base)


def wood(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Long wavy rings and pores."""
    scale = look.uniform(8, 30) * noise.unit(size)
    u, _ = noise.plane(look, rng, size)
    rings = u + look.uniform(0.5, 2.5) * scale * noise.smooth(rng, size, (size / 1.5, size / 3))
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * rings / scale + noise.smooth(rng, size, scale))
    pores = _streaks(look, rng, size, along=30)
    base = noise.colour(look, 0.35, 0.85, 0.5)
    grain = look.uniform(0.3, 0.9) * rings + look.uniform(0.05, 0.25) * pores
    return noise.paint(grain, base, noise.shade_of(look, base, look.uniform(0.15, 0.4)))


def brushed_metal(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Fine parallel lines with a broad sheen."""
    lines = _streaks(look, rng, size, along=look.uniform(40, 200))
    sheen = 0.15 * noise.smooth(rng, size, size / 2)
    base = noise.colour(look, 0.35, 0.8, 0.15)
    amount = 0.5 + look.uniform(0.1, 0.3) * lines + sheen
    return noise.paint(amount, base, noise.shade_of(look, base, look.uniform(0.15, 0.4)))


def cast_metal(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Rough relief lit from one side."""
    relief = noise.fractal(rng, size, look.uniform(8, 30) * noise.unit(size), octaves=4)
    base = noise.colour(look, 0.25, 0.7, 0.15)
    return _lit(look, relief, look.uniform(0.05, 0.2)) * base


def paper(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Nearly even, with cloudy thickness and a fine tooth."""
    cloud = noise.fractal(rng, size, look.uniform(20, 60) * noise.unit(size), octaves=3)
    base = noise.colour(look, 0.5, 0.95, 0.3)
    tooth = look.uniform(0.02, 0.3) * noise.smooth(rng, size, 1.5)
    return noise.paint(0.5 + look.uniform(0.02, 0.2) * cloud + tooth, base, noise.shade_of(look, base, 0.12))


def concrete(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Blotchy ground with sand grains and a few air pits, all of it good."""
    blotches = noise.fractal(rng, size, look.uniform(30, 100) * noise.unit(size), octaves=6, gain=0.6)
    sand = look.uniform(0.05, 0.4) * noise.grain(rng, size)
    pits = noise.smooth(rng, size, look.uniform(4, 8) * noise.unit(size)) > look.uniform(2.4, 3.2)
    base = noise.colour(look, 0.35, 0.8, 0.2)
    amount = 0.5 + 0.2 * blotches + sand - look.uniform(0.5, 2.0) * noise.blur(pits.astype(np.float32), 0.7)
    return noise.paint(amount, base * np.float32(0.7), base)


def marble(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Veins through a cloudy ground."""
    turbulence = noise.fractal(rng, size, look.uniform(60, 160) * noise.unit(size), octaves=5)
    u, _ = noise.plane(look, rng, size)
    waves = u / (look.uniform(60, 200) * noise.unit(size)) + look.uniform(0.3, 0.8) * turbulence
    veins = np.exp(-np.abs(np.sin(np.pi * waves)) * look.uniform(4, 12))
    base = noise.colour(look, 0.4, 0.9, 0.3)
    return noise.paint(veins + 0.1 * turbulence, base, noise.shade_of(look, base, look.uniform(0.2, 0.5)))


def terrazzo(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Chips of several colours in cement."""
    cell = look.uniform(9, 36) * noise.unit(size)
    labels, _ = noise.cells(rng, size, cell)
    chosen = noise.per_item(rng, labels, 1.0)
    chip = (noise.walls(labels) > 0.08 * cell) & (chosen > look.uniform(-1.0, 0.8))
    cement = noise.colour(look, 0.4, 0.9, 0.2)
    colours = np.stack([noise.shade_of(look, cement, look.uniform(0.1, 0.6)) for _ in range(6)])
    stone = noise.blur(colours[labels % len(colours)], 0.6)
    edge = noise.blur(chip.astype(np.float32), 0.6)[..., None]
    return np.asarray(cement + edge * (stone - cement) + 0.02 * noise.grain(rng, size)[..., None], np.float32)


def granite(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Mineral grains of a few shades, packed tight."""
    labels, _ = noise.cells(rng, size, look.uniform(3, 9) * noise.unit(size))
    base = noise.colour(look, 0.3, 0.7, 0.25)
    shades = 0.5 + noise.per_item(rng, labels, look.uniform(0.15, 0.35))
    return noise.paint(noise.blur(shades, 0.6), base * np.float32(0.4), np.minimum(base * np.float32(1.6), 1))


def foam(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Open bubbles with bright walls."""
    cell = look.uniform(10, 30) * noise.unit(size)
    labels, _ = noise.cells(rng, size, cell)
    wall = np.exp(-noise.walls(labels) / np.float32(cell * look.uniform(0.08, 0.2)))
    base = noise.colour(look)
    depth = wall + noise.per_item(rng, labels, 0.08) + 0.05 * noise.grain(rng, size)
    return noise.paint(noise.blur(depth, 0.7), base * np.float32(look.uniform(0.3, 0.7)), base)


def tiles(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Tiles with grout between them, every tile a little different; rows may be shifted as bricks are."""
    width = look.uniform(28, 110) * noise.unit(size)
    height = width * look.uniform(0.45, 1.0)
    u, v = noise.plane(look, rng, size)
    row = np.floor(v / height)
    u = u + float(look.choice([0.0, 0.5])) * width * (row % 2)
    column = np.floor(u / width)
    inside = np.minimum(_from_border(u / width) * width, _from_border(v / height) * height)
    tile = np.clip((inside - look.uniform(1, 3.5) * noise.unit(size)) / (1.5 * noise.unit(size)), 0, 1)
    index = (column * 31 + row * 17).astype(np.int32)
    glaze = 1 + noise.per_item(rng, index, look.uniform(0, 0.08)) + 0.03 * noise.fractal(rng, size, 20, octaves=3)
    face, grout = noise.colour(look), noise.colour(look, 0.2, 0.8, 0.1)
    return noise.paint(tile.astype(np.float32), grout, face) * glaze[..., None]


def mosaic(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Honeycomb of small hexagons."""
    pitch = look.uniform(14, 40) * noise.unit(size)
    u, v = noise.plane(look, rng, size)
    waves = [
        np.cos(2 * np.pi * (math.cos(a) * u + math.sin(a) * v) / pitch) for a in (0, np.pi / 3, 2 * np.pi / 3)
    ]
    relief = (waves[0] + waves[1] + waves[2] + 1.5) / 4.5
    base = noise.colour(look)
    amount = relief * look.uniform(1.5, 4) - look.uniform(0.2, 0.6) + 0.04 * noise.grain(rng, size)
    return noise.paint(amount, base, noise.shade_of(look, base, look.uniform(0.25, 0.7)))


def perforated(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Sheet with rows of round holes, straight or staggered."""
    pitch = look.uniform(16, 44) * noise.unit(size)
    u, v = noise.plane(look, rng, size)
    u = u + float(look.choice([0.0, 0.5])) * pitch * (np.floor(v / pitch) % 2)
    radius = np.hypot(u / pitch - np.floor(u / pitch) - 0.5, v / pitch - np.floor(v / pitch) - 0.5)
    edge = np.clip((radius - look.uniform(0.2, 0.38)) * pitch / 1.5, 0, 1)
    sheet, ground = noise.colour(look, 0.4, 0.9, 0.3), noise.colour(look, 0.05, 0.35)
    return noise.paint(edge, ground, sheet) * _ripple_light(look, rng, size)


def wire_mesh(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Square grid of round wires over a ground."""
    pitch = look.uniform(14, 50) * noise.unit(size)
    u, v = noise.plane(look, rng, size, wobble=look.uniform(0, 0.06) * pitch)
    near = np.minimum(_from_border(u / pitch), _from_border(v / pitch))
    thick = look.uniform(0.08, 0.2)
    wire = np.sqrt(np.clip(1 - (near / thick) ** 2, 0, 1)).astype(np.float32)
    ground = noise.colour(look)
    return noise.paint(wire, ground, noise.shade_of(look, ground, look.uniform(0.4, 0.9))) * _ripple_light(
        look, rng, size
    )


def stripes(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Printed bands of two to four colours and widths."""
    widths = look.uniform(4, 30, int(look.integers(2, 5))) * noise.unit(size)
    u, _ = noise.plane(look, rng, size, wobble=look.uniform(0, 2) * noise.unit(size))
    place = u % np.float32(widths.sum())
    base = noise.colour(look)
    picture = np.broadcast_to(base, (size, size, 3)).astype(np.float32)
    for start in np.cumsum(widths)[:-1]:
        share = np.clip(place - start, 0, 1)[..., None]
        picture = picture + share * (noise.shade_of(look, base, look.uniform(0.1, 0.7)) - picture)
    return picture * _ripple_light(look, rng, size)


def checks(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Two bands of colour that cross, as on gingham or a checkerboard."""
    pitch = look.uniform(14, 60) * noise.unit(size)
    u, v = noise.plane(look, rng, size, wobble=look.uniform(0, 2) * noise.unit(size))
    sharp = look.uniform(2, 12)
    a, b = (np.clip(0.5 + sharp * np.sin(2 * np.pi * c / pitch), 0, 1) for c in (u, v))
    amount = (a + b) / 2 if look.random() < 0.6 else np.abs(a - b)
    base = noise.colour(look)
    shade = noise.shade_of(look, base, look.uniform(0.15, 0.7))
    return noise.paint(amount, base, shade) * _ripple_light(look, rng, size)


def corrugated(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Round ribs lit from one side."""
    pitch = look.uniform(12, 50) * noise.unit(size)
    u, _ = noise.plane(look, rng, size)
    base = noise.colour(look, 0.3, 0.85)
    ribs = 0.5 + 0.5 * np.sin(2 * np.pi * u / pitch)
    amount = ribs ** look.uniform(0.5, 2.5) + 0.04 * noise.grain(rng, size)
    return noise.paint(amount, base * np.float32(look.uniform(0.3, 0.8)), base)


def tread_plate(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Metal sheet with short raised bars, turned from one to the next."""
    pitch = look.uniform(30, 70) * noise.unit(size)
    u, v = noise.plane(look, rng, size)
    a, b = u / pitch - np.floor(u / pitch) - 0.5, v / pitch - np.floor(v / pitch) - 0.5
    turned = (np.floor(u / pitch) + np.floor(v / pitch)) % 2 == 0
    along, across = np.where(turned, a + b, a - b), np.where(turned, a - b, a + b)
    bump = np.exp(-((along / 0.45) ** 4) - (across / look.uniform(0.12, 0.22)) ** 2)
    base = noise.colour(look, 0.3, 0.7, 0.15)
    relief = noise.blur(bump.astype(np.float32), 1.0) * np.float32(look.uniform(3, 8))
    return _lit(look, relief + 0.1 * noise.fractal(rng, size, 6, octaves=2), 0.25) * base


def solar_cell(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Dark crystalline wafer with fine fingers and a few broad bars."""
    u, v = noise.plane(look, rng, size)
    finger, bar = look.uniform(7, 14) * noise.unit(size), look.uniform(80, 180) * noise.unit(size)
    lines = np.maximum(_line(u, finger, 1.2 * noise.unit(size)), _line(v, bar, 6 * noise.unit(size)))
    labels, _ = noise.cells(rng, size, look.uniform(30, 90) * noise.unit(size))
    crystal = 1 + noise.per_item(rng, labels, look.uniform(0, 0.2))
    wafer = noise.colour(look, 0.1, 0.4) * crystal[..., None]
    return np.asarray(wafer + lines[..., None] * (noise.colour(look, 0.6, 0.9, 0.1) - wafer), np.float32)


def plastic(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Moulded sheet: even colour, an orange-peel skin, a soft reflection."""
    skin = noise.fractal(rng, size, look.uniform(5, 16) * noise.unit(size), octaves=2)
    reflection = noise.smooth(rng, size, size / 2)
    base = noise.colour(look)
    return _lit(look, skin, look.uniform(0.0, 0.06)) * base * (1 + 0.08 * reflection[..., None])


def speckled_print(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """Dots strewn over an even ground: a pattern of specks that is good."""
    cell = look.uniform(10, 30) * noise.unit(size)
    labels, distance = noise.cells(rng, size, cell)
    radius = cell * (look.uniform(0.1, 0.3) + noise.per_item(rng, labels, 0.04))
    base = noise.colour(look)
    dots = np.clip(radius - distance + 0.5, 0, 1)
    shade = noise.shade_of(look, base, look.uniform(0.2, 0.8))
    return noise.paint(dots, base, shade) * _ripple_light(look, rng, size)


def _streaks(look: np.random.Generator, rng: np.random.Generator, size: int, *, along: float) -> Field:
    """Noise drawn out over `along` design pixels in the product's direction; about standard normal."""
    lengths = (1.3 * noise.unit(size), along * noise.unit(size))
    upright = look.random() < 0.5
    return noise.smooth(rng, size, lengths if upright else lengths[::-1])


def _lit(look: np.random.Generator, relief: Field, strength: float) -> Picture:
    """Light on a relief from the product's side: (S, S, 1) around 1."""
    angle = look.uniform(0, 2 * np.pi)
    slope = np.gradient(relief)
    light = 1 + strength * (math.cos(angle) * slope[1] + math.sin(angle) * slope[0]) * 3
    return np.asarray(np.clip(light, 0.1, 1.9)[..., None], np.float32)


def _ripple_light(look: np.random.Generator, rng: np.random.Generator, size: int) -> Picture:
    """A surface's fine unevenness: (S, S, 1) around 1."""
    amount = look.uniform(0.005, 0.05)
    uneven = noise.smooth(rng, size, 1.5) + noise.smooth(rng, size, 12 * noise.unit(size))
    return np.asarray((1 + amount * uneven)[..., None], np.float32)


def _from_border(share: Field) -> Field:
    """Distance to the nearest whole number, 0..0.5."""
    return np.asarray(np.abs(share - np.round(share)), np.float32)


def _line(coordinate: Field, pitch: float, width: float) -> Field:
    """1 on lines `width` pixels wide every `pitch` pixels, soft by a pixel, else 0."""
    distance = _from_border(coordinate / np.float32(pitch)) * pitch
    return np.asarray(np.clip(width / 2 + 0.5 - distance, 0, 1), np.float32)
