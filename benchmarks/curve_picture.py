"""The latency-throughput curve as an SVG: two panels over the offered load. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10

WIDTH, LEFT, RIGHT = 800, 78, 24
LATENCY = (64, 300)
IN_TIME = (344, 424)
"""Top and bottom of the panels."""
HEIGHT = 500
P50, P99, SHARE, GRID, INK = "#2166ac", "#b2182b", "#1b7837", "#dddddd", "#222222"
LOWEST_MS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """load: of capacity, 1 is all of it. offered_hz: frames a second. in_time: of all parts, 0 to 1."""

    load: float
    offered_hz: float
    p50_ms: float
    p99_ms: float
    in_time: float


def curve_svg(points: Sequence[Point], *, deadline_ms: float, machine: str) -> str:
    """The picture, 800 pixels wide. Latencies stand on a logarithmic scale from 10 ms on."""
    right = max(1.0, points[-1].load) * 1.03
    top_ms = 10 ** ceil(log10(max(deadline_ms, *(point.p99_ms for point in points)) * 1.01))

    def x(load: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * load / right

    def latency(ms: float) -> float:
        upper, lower = LATENCY
        return lower - (lower - upper) * log10(max(ms, LOWEST_MS) / LOWEST_MS) / log10(top_ms / LOWEST_MS)

    def share(part: float) -> float:
        return IN_TIME[1] - (IN_TIME[1] - IN_TIME[0]) * part

    parts = [
        *_frame(machine),
        *_grid(points, x, latency, share, top_ms),
        _line([(x(0), latency(deadline_ms)), (x(right), latency(deadline_ms))], INK, dashed=True),
        _text(x(0) + 8, latency(deadline_ms) - 6, f"deadline {deadline_ms:.0f} ms", anchor="start"),
        _line([(x(1.0), LATENCY[0]), (x(1.0), IN_TIME[1])], INK, dashed=True),
        *_curve([(x(p.load), latency(p.p99_ms)) for p in points], P99),
        *_curve([(x(p.load), latency(p.p50_ms)) for p in points], P50),
        *_curve([(x(p.load), share(p.in_time)) for p in points], SHARE),
        _text(x(points[0].load), latency(points[0].p99_ms) - 12, "p99", colour=P99, bold=True),
        _text(x(points[0].load), latency(points[0].p50_ms) + 22, "p50", colour=P50, bold=True),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(machine: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="14">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield _text(LEFT, 26, "From trigger to reply, by offered load", anchor="start", bold=True)
    yield _text(LEFT, 46, machine, anchor="start", size=12)
    yield _text(LEFT, IN_TIME[0] - 12, "Parts with a verdict within the deadline", anchor="start", bold=True)
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "offered load: share of capacity, and frames a second")


def _grid(
    points: Sequence[Point],
    x: Callable[[float], float],
    latency: Callable[[float], float],
    share: Callable[[float], float],
    top_ms: float,
) -> Iterator[str]:
    heights = [
        (latency(ms), f"{ms:.0f} ms")
        for ms in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
        if ms <= top_ms
    ]
    heights += [(share(part), f"{part:.0%}") for part in (0.0, 0.5, 1.0)]
    for y, label in heights:
        yield _line([(LEFT, y), (WIDTH - RIGHT, y)], GRID)
        yield _text(LEFT - 8, y + 5, label, anchor="end", size=12)
    for point in points:
        yield _text(x(point.load), IN_TIME[1] + 22, f"{point.load:.0%}", size=12)
        yield _text(x(point.load), IN_TIME[1] + 40, f"{point.offered_hz:.0f}", size=12)


def _curve(places: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
    yield _line(places, colour, width=2.5)
    for across, down in places:
        yield f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{colour}"/>'


def _line(places: Sequence[tuple[float, float]], colour: str, *, width: float = 1, dashed: bool = False) -> str:
    way = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    dashes = ' stroke-dasharray="6 5"' if dashed else ""
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _text(
    across: float,
    down: float,
    words: str,
    *,
    anchor: str = "middle",
    colour: str = INK,
    size: int = 14,
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{weight}>'
        f"{words}</text>"
    )
