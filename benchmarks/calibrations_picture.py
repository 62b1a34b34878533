"""Draws what `python -m benchmarks calibrations --save` kept: realised false-reject rates beside their Beta.

python -m benchmarks.calibrations_picture docs/images/calibrations.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import beta

SAVED = Path(__file__).parent / "results" / "calibrations.json"
DRAWN = ("false_rejects_n19_p0.05", "false_rejects_n99_p0.05", "false_rejects_n199_p0.05")
PROVISIONAL = "false_rejects_provisional_8_shot"
WIDTH, HEIGHT, GAP, EDGE = 420, 300, 36, 40
TOP, BOTTOM = 64, 46
"""Of a panel, above and below the plot."""
SCALE = 2
"""Pixels a unit, so that lines are smooth on a fine screen."""
MOST_RATE = 0.2
BINS = 20
BLUE, ORANGE, INK, MUTED, PAPER = "#9ec9e2", "#d55e00", "#1a1a1a", "#6b6b6b", "#ffffff"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One histogram. density: what it should follow, None where nothing is promised. limit: the rate promised."""

    title: str
    words: str
    rates: Array
    limit: float
    density: Callable[[Array], Array] | None


def main(argv: Sequence[str] | None = None) -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrations_picture", description=__doc__)
    parser.add_argument("out", type=Path, help="the PNG to write")
    out = parser.parse_args(argv).out
    saved = {row["name"]: row for row in json.loads(SAVED.read_text(encoding="utf-8"))}
    panels = [_promised(saved[name]) for name in DRAWN] + [_provisional(saved[PROVISIONAL])]
    picture(panels).save(out, optimize=True)
    return 0


def picture(panels: Sequence[Panel]) -> Image.Image:
    """Two panels a row."""
    rows = (len(panels) + 1) // 2
    size = (2 * WIDTH + GAP + 2 * EDGE, rows * HEIGHT + (rows - 1) * GAP + 2 * EDGE)
    canvas = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, panel in enumerate(panels):
        _draw(draw, panel, EDGE + (index % 2) * (WIDTH + GAP), EDGE + (index // 2) * (HEIGHT + GAP))
    return canvas


def _promised(row: dict[str, Any]) -> Panel:
    a, b = row["beta"]
    return Panel(
        title=f"calibrated, n = {a + b - 1}, P = {row['promised']:.0%}",
        words=f"{row['calibrations']} calibrations: mean {row['value']:.2%} (orange: P; curve: Beta({a}, {b}))",
        rates=np.array(row["rates"]),
        limit=row["promised"],
        density=lambda rates: np.asarray(beta.pdf(rates, a, b)),
    )


def _provisional(row: dict[str, Any]) -> Panel:
    return Panel(
        title=f"provisional, 8 references, expected {row['expected']:.0%}",
        words=f"{row['draws']} draws: mean {row['value']:.2%} (orange: expected; no promise)",
        rates=np.array(row["rates"]),
        limit=row["expected"],
        density=None,
    )


def _draw(draw: ImageDraw.ImageDraw, panel: Panel, left: float, top: float) -> None:
    counts, edges = np.histogram(np.minimum(panel.rates, MOST_RATE - 1e-9), bins=BINS, range=(0, MOST_RATE))
    bars = counts / len(panel.rates) / (edges[1] - edges[0])
    grid = np.linspace(1e-4, MOST_RATE, 400)
    curve = None if panel.density is None else panel.density(grid)
    highest = 1.1 * max(bars.max(), 0.0 if curve is None else float(curve.max()))
    plot = (left, top + TOP, left + WIDTH, top + HEIGHT - BOTTOM)

    def at(rate: float, density: float) -> tuple[float, float]:
        x = plot[0] + (plot[2] - plot[0]) * rate / MOST_RATE
        return x * SCALE, (plot[3] - (plot[3] - plot[1]) * density / highest) * SCALE

    for bar, start, end in zip(bars, edges, edges[1:], strict=False):
        draw.rectangle((*at(start, bar), *at(end, 0)), fill=BLUE, outline=PAPER, width=SCALE)
    if curve is not None:
        draw.line([at(x, y) for x, y in zip(grid, curve, strict=True)], fill=INK, width=2 * SCALE)
    draw.line((*at(panel.limit, 0), *at(panel.limit, highest)), fill=ORANGE, width=2 * SCALE)
    draw.line((*at(0, 0), *at(MOST_RATE, 0)), fill=MUTED, width=SCALE)
    for rate in (0.0, 0.05, 0.1, 0.15, 0.2):
        x, y = at(rate, 0)
        label = f"{rate:.0%}" if rate < MOST_RATE else f">= {rate:.0%}"
        draw.text((x, y + 6 * SCALE), label, fill=MUTED, font=_font(12), anchor="ma")
    draw.text((left * SCALE, top * SCALE), panel.title, fill=INK, font=_font(17))
    draw.text((left * SCALE, (top + 24) * SCALE), panel.words, fill=MUTED, font=_font(13))
    below = (plot[3] + 26) * SCALE
    draw.text((left * SCALE, below), "realised false-reject rate on fresh good parts", fill=MUTED, font=_font(12))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


if __name__ == "__main__":
    sys.exit(main())
