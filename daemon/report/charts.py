"""From numbers to shapes: where each bar, line and label of a chart lies. Pure; the template only writes it down.

Coordinates are SVG user units in a box of WIDTH x `height`, y downwards. `kind` names a CSS class, nothing else.
Each chart carries its numbers as a table as well, for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")

WIDTH = 920
LEFT, RIGHT, TOP, BOTTOM = 72, 10, 20, 24
LEAST_BAR = 1.5
"""Height of a bar of one part among thousands: what happened once is still to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A filled rectangle; `title` is what a pointer that rests on it is told."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A line or, `filled`, a closed area. points: "x,y x,y …"."""

    points: str
    kind: str
    filled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A straight line across the chart with a short label: upright at `at` = x, or level at `at` = y.

    leftward: whether the label of an upright line stands on its left.
    """

    at: float
    upright: bool
    kind: str
    label: str
    leftward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label on an axis, at x or y."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The same numbers as text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure.

    legend: (kind, what it stands for). description: what a person who cannot see it should know. notes: sentences
    below it.
    """

    name: str
    title: str
    description: str
    height: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    table: Table
    x_label: str = ""
    y_label: str = ""
    bars: tuple[Bar, ...] = ()
    paths: tuple[Path, ...] = ()
    rules: tuple[Rule, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    width: int = field(default=WIDTH, init=False)

    @property
    def bottom(self) -> int:
        """Where the x axis lies."""
        return self.height - BOTTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Values to coordinates. x from 0 to 1 over the plot's width; y linear from `low` to `high`."""

    height: int
    low: float
    high: float

    def x(self, share: float) -> float:
        """0 is the left edge, 1 the right one."""
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)

    def y(self, value: float) -> float:
        """Values beyond the axis lie on its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.height - BOTTOM - share * (self.height - BOTTOM - TOP), 2)

    def y_ticks(self, values: Sequence[float]) -> tuple[Tick, ...]:
        """Ticks at these values."""
        return tuple(Tick(at=self.y(value), label=number(value)) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One stack. left, right: 0 to 1 along the x axis. counts: (kind, how many), from the bottom up."""

    left: float
    right: float
    counts: tuple[tuple[str, int], ...]
    title: str


def count_axes(height: int, largest: float) -> tuple[Axes, list[float]]:
    """Axes from 0 to a round number at or above `largest`, and where their ticks are."""
    ticks = round_steps(0.0, max(1.0, largest), whole=True)
    return Axes(height=height, low=0.0, high=ticks[-1]), ticks


def round_steps(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Four to seven multiples of 1, 2 or 5 times a power of ten, the first <= low, the last >= high.

    whole: no fractions.
    """
    raw = max((high - low) / 5, 1e-9)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def stacks(axes: Axes, columns: Sequence[Column]) -> tuple[Bar, ...]:
    """Stacked bars with a hair's breadth between columns."""
    return tuple(bar for column in columns for bar in _stack(axes, column))


def _stack(axes: Axes, column: Column) -> list[Bar]:
    left, right = axes.x(column.left), axes.x(column.right)
    foot = axes.y(0.0)
    bars = []
    for kind, count in column.counts:
        if count:
            height = max(LEAST_BAR, axes.y(0.0) - axes.y(count))
            foot -= height
            width = max(1.0, right - left - 1)
            bars.append(
                Bar(x=left, y=round(foot, 2), width=round(width, 2), height=height, kind=kind, title=column.title)
            )
    return bars


def lines(axes: Axes, points: Sequence[tuple[float, float | None]], kind: str) -> tuple[Path, ...]:
    """A line through (share of the x axis, value); it breaks where a value is None."""
    return tuple(
        Path(points=" ".join(f"{axes.x(x)},{axes.y(value)}" for x, value in run), kind=kind)
        for run in _runs(points)
    )


def bands(axes: Axes, points: Sequence[tuple[float, tuple[float, float] | None]], kind: str) -> tuple[Path, ...]:
    """The area through (share of the x axis, (low, high)); it breaks where that is None."""
    return tuple(band(axes, [(x, low, high) for x, (low, high) in run], kind) for run in _runs(points))


def band(axes: Axes, points: Sequence[tuple[float, float, float]], kind: str) -> Path:
    """The area between (x, low, high)."""
    upper = [f"{axes.x(x)},{axes.y(high)}" for x, _, high in points]
    lower = [f"{axes.x(x)},{axes.y(low)}" for x, low, _ in reversed(points)]
    return Path(points=" ".join([*upper, *lower]), kind=kind, filled=True)


def number(value: float) -> str:
    """As a person writes it: 12,345 or 0.25."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _runs(points: Sequence[tuple[float, Value | None]]) -> list[list[tuple[float, Value]]]:
    """The stretches without a gap. A lone point becomes a short line, so that it can be seen."""
    runs: list[list[tuple[float, Value]]] = [[]]
    for x, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x, value))
    return [
        run if len(run) > 1 else [(run[0][0] - 0.003, run[0][1]), (run[0][0] + 0.003, run[0][1])]
        for run in runs
        if run
    ]
