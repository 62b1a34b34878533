"""Two things timed in turn: this machine's speed drifts, and a ratio of neighbours does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def in_turn(rounds: int, *things: Callable[[], object]) -> list[list[float]]:
    """Seconds of each thing in each round, after one round that nobody counts."""
    times: list[list[float]] = [[] for _ in things]
    for number in range(rounds + 1):
        for thing, taken in zip(things, times, strict=True):
            start = time.perf_counter()
            thing()
            if number:
                taken.append(time.perf_counter() - start)
    return times


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median of the rounds' own ratios."""
    return median(one / other for one, other in zip(above, below, strict=True))


def rounded(times: list[float]) -> list[float]:
    """Milliseconds for a result's detail."""
    return [round(1e3 * seconds, 1) for seconds in times]
