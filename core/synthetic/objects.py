"""Single parts on a background. Every function draws one picture and says where the part lies.

look: chooses the product (shape, proportions, colours, ground, light) and is the same for every picture of it;
rng: what differs from piece to piece (place, turn, noise). Returns (picture, region): (S, S, 3) float32 in 0..1
and (S, S) bool, True on the part. Outlines are in units of the part's radius (core.synthetic.solids).
"""

from __future__ import annotations

import numpy as np

from core.synthetic import noise
from core.synthetic.noise import Picture, Region
from core.synthetic.solids import Bench, box, circle, gear_outline, polygon, stadium, wave_outline


def washer(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Flat ring."""
    bench = Bench.lay(look, rng, size)
    bench.add(circle(1.0), noise.colour(look, 0.35, 0.85, 0.2), bevel=look.uniform(0.02, 0.1))
    bench.cut(circle(look.uniform(0.3, 0.65)))
    return bench.finish(rng)


def hex_nut(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Six flats, a chamfer, a threaded hole."""
    bench = Bench.lay(look, rng, size)
    metal = noise.colour(look, 0.35, 0.8, 0.3)
    bench.add(polygon(int(look.choice([4, 6, 6, 8]))), metal, bevel=look.uniform(0.05, 0.15))
    hole = look.uniform(0.4, 0.6)
    bench.add(circle(hole + 0.07), metal * np.float32(0.8), bevel=0.05)
    bench.cut(circle(hole))
    return bench.finish(rng)


def screw(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Head, shank with thread, point."""
    bench = Bench.lay(look, rng, size)
    metal = noise.colour(look, 0.4, 0.85, 0.2)
    width, pitch = look.uniform(0.1, 0.18), look.uniform(0.06, 0.12)
    bench.add(wave_outline(-0.65, 0.9, width, look.uniform(0.15, 0.3) * width, pitch), metal, bevel=width * 0.8)
    for x in np.arange(-0.6, 0.85, pitch):
        bench.add(box(x, -width, x + 0.35 * pitch, width), metal * np.float32(0.7), bevel=0.02)
    head = look.uniform(1.8, 2.6) * width
    bench.add(box(-0.95, -head, -0.65, head), metal, bevel=look.uniform(0.04, 0.12))
    return bench.finish(rng)


def capsule(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Two glossy halves of a medicine capsule."""
    bench = Bench.lay(look, rng, size)
    width = look.uniform(0.3, 0.5)
    bench.add(stadium(-0.95, 0.95, width), noise.colour(look, 0.4, 0.95), bevel=width)
    bench.add(stadium(-0.95, look.uniform(-0.1, 0.25), width * 1.04), noise.colour(look, 0.2, 0.9), bevel=width)
    return bench.finish(rng)


def tablet(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Round pressed tablet, with a break line on some."""
    bench = Bench.lay(look, rng, size)
    mass = noise.colour(look, 0.6, 0.95, 0.4)
    bench.add(circle(1.0), mass, bevel=look.uniform(0.05, 0.3))
    if look.random() < 0.6:
        bench.add(box(-0.8, -0.04, 0.8, 0.04), mass * np.float32(0.75), bevel=0.03)
    return bench.finish(rng)


def bottle_cap(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Crown cap or screw top from above: crimped rim, printed ring."""
    bench = Bench.lay(look, rng, size)
    rim = noise.colour(look, 0.3, 0.85)
    teeth = int(look.integers(16, 28))
    bench.add(gear_outline(teeth, look.uniform(0.88, 0.95), smooth=True), rim, bevel=0.08)
    inner = look.uniform(0.6, 0.8)
    bench.add(circle(inner), noise.shade_of(look, rim, look.uniform(0.1, 0.5)), bevel=0.05)
    bench.add(circle(inner * look.uniform(0.5, 0.85)), noise.shade_of(look, rim, 0.3), bevel=0.02)
    return bench.finish(rng)


def gear(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Toothed wheel with hub, bore and lightening holes."""
    bench = Bench.lay(look, rng, size)
    metal = noise.colour(look, 0.3, 0.8, 0.3)
    bench.add(gear_outline(int(look.integers(10, 30)), look.uniform(0.78, 0.9)), metal, bevel=0.05)
    holes = int(look.integers(3, 8)) if look.random() < 0.6 else 0
    for turn in np.arange(holes) * 2 * np.pi / max(holes, 1):
        bench.cut(circle(0.13, 0.52 * np.cos(turn), 0.52 * np.sin(turn)))
    bench.add(circle(0.28), metal * np.float32(0.9), bevel=0.05)
    bench.cut(circle(look.uniform(0.1, 0.18)))
    return bench.finish(rng)


def bearing(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Two rings with balls between them."""
    bench = Bench.lay(look, rng, size)
    metal = noise.colour(look, 0.4, 0.85, 0.15)
    bench.add(circle(1.0), metal, bevel=0.06)
    bench.add(circle(0.82), metal * np.float32(look.uniform(0.3, 0.6)), bevel=0.0)
    balls = int(look.integers(7, 14))
    for turn in np.arange(balls) * 2 * np.pi / balls:
        bench.add(circle(0.12, 0.67 * np.cos(turn), 0.67 * np.sin(turn)), metal, bevel=0.12)
    bench.add(circle(0.52), metal, bevel=0.05)
    bench.cut(circle(look.uniform(0.28, 0.42)))
    return bench.finish(rng)


def connector(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Plastic housing with rows of contacts."""
    bench = Bench.lay(look, rng, size)
    housing, pin = noise.colour(look, 0.1, 0.8), noise.colour(look, 0.6, 0.9, 0.4)
    columns, rows = int(look.integers(4, 12)), int(look.integers(1, 4))
    height = min(0.3 * rows, 0.85)
    bench.add(box(-1, -height, 1, height), housing, bevel=0.05)
    step = 1.8 / columns
    for x in np.linspace(-0.9 + step / 2, 0.9 - step / 2, columns):
        for y in np.linspace(-height, height, rows + 2)[1:-1]:
            bench.add(
                box(x - 0.38 * step, y - 0.13, x + 0.38 * step, y + 0.13), housing * np.float32(0.5), bevel=0
            )
            bench.add(box(x - 0.2 * step, y - 0.07, x + 0.2 * step, y + 0.07), pin, bevel=0.03)
    return bench.finish(rng)


def chip(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Black package with bright legs on two sides or four."""
    bench = Bench.lay(look, rng, size)
    leg, body = noise.colour(look, 0.6, 0.9, 0.15), noise.colour(look, 0.08, 0.3, 0.2)
    count, height = int(look.integers(4, 12)), look.uniform(0.45, 0.75)
    width = 0.75 / count
    for x in np.linspace(-0.72, 0.72, count):
        bench.add(box(x - width / 2, -height - 0.22, x + width / 2, height + 0.22), leg, bevel=0.03)
    bench.add(box(-0.85, -height, 0.85, height), body, bevel=0.05)
    bench.add(circle(0.07, -0.7, -height + 0.15), body * np.float32(1.5), bevel=0)
    return bench.finish(rng)


def circuit_board(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Board with tracks, pads and a few parts; its layout is the product's."""
    bench = Bench.lay(look, rng, size)
    board, copper = noise.colour(look, 0.15, 0.5, 0.8), noise.colour(look, 0.5, 0.85, 0.5)
    bench.add(box(-1, -0.75, 1, 0.75), board, bevel=0.02)
    for _ in range(int(look.integers(8, 20))):
        x, y, length = look.uniform(-0.9, 0.7), look.uniform(-0.65, 0.65), look.uniform(0.1, 0.7)
        end = (min(x + length, 0.92), y) if look.random() < 0.5 else (x, min(y + length, 0.68))
        bench.add(
            box(x - 0.012, y - 0.012, end[0] + 0.012, end[1] + 0.012), noise.shade_of(look, board, 0.4), bevel=0
        )
        for pad in ((x, y), end):
            bench.add(circle(0.035, *pad), copper, bevel=0.02)
    for _ in range(int(look.integers(2, 7))):
        x, y, w, h = look.uniform(-0.8, 0.6), look.uniform(-0.6, 0.4), *look.uniform(0.05, 0.22, 2)
        bench.add(box(x, y, x + w, y + h), noise.colour(look, 0.05, 0.9), bevel=0.03)
    return bench.finish(rng)


def button(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Clothes button with two or four holes."""
    bench = Bench.lay(look, rng, size)
    base = noise.colour(look)
    bench.add(circle(1.0), base, bevel=look.uniform(0.08, 0.2))
    bench.add(circle(look.uniform(0.6, 0.75)), base * np.float32(0.92), bevel=0.06)
    holes = int(look.choice([2, 4]))
    for turn in np.arange(holes) * 2 * np.pi / holes:
        bench.cut(circle(0.11, 0.26 * np.cos(turn), 0.26 * np.sin(turn)))
    return bench.finish(rng)


def cable_end(look: np.random.Generator, rng: np.random.Generator, size: int) -> tuple[Picture, Region]:
    """Cut cable from the front: jacket, insulated cores, strands."""
    bench = Bench.lay(look, rng, size)
    bench.add(circle(1.0), noise.colour(look, 0.1, 0.9), bevel=0.06)
    bench.add(circle(0.86), noise.colour(look, 0.1, 0.6, 0.2), bevel=0)
    copper, cores = noise.colour(look, 0.5, 0.85, 0.5), int(look.integers(2, 5))
    radius = {2: 0.38, 3: 0.37, 4: 0.33}[cores]
    for turn in np.arange(cores) * 2 * np.pi / cores:
        x, y = 0.46 * np.cos(turn), 0.46 * np.sin(turn)
        bench.add(circle(radius, x, y), noise.colour(look, 0.2, 0.9), bevel=0.05)
        for strand in np.arange(6) * np.pi / 3:
            bench.add(circle(0.09, x + 0.14 * np.cos(strand), y + 0.14 * np.sin(strand)), copper, bevel=0.08)
    return bench.finish(rng)
