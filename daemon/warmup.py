"""Warm-up: every batch size runs before READY, and its time chooses the size where nobody set one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daemon.batching import DEADLINE_SHARE, buckets_for, choose_max_size
from daemon.clock import Clock
from daemon.work import Image, Scorer

REPEATS = 3
FRAME_SHAPE = (480, 640, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """max_size: frames a batch may hold. batch_ns: bucket -> median time of one batch, in ns."""

    max_size: int
    batch_ns: dict[int, int]


def warm_up(scorer: Scorer, *, max_size: int, shortest_deadline_ns: int, clock: Clock) -> WarmUp:
    """Run the encoder at every bucket.

    max_size: 0 lets the measurement choose among 1 to 16; sizes that the shortest deadline rules out
    are then not run at all.
    """
    batch_ns: dict[int, int] = {}
    for bucket in buckets_for(max_size):
        batch_ns[bucket] = _median_ns(scorer, _pictures(bucket), clock)
        if not max_size and batch_ns[bucket] * DEADLINE_SHARE > shortest_deadline_ns:
            break
    chosen = max_size or choose_max_size(batch_ns, shortest_deadline_ns=shortest_deadline_ns)
    return WarmUp(max_size=chosen, batch_ns=batch_ns)


def _median_ns(scorer: Scorer, pictures: list[Image], clock: Clock) -> int:
    scorer.encode(pictures)  # the first run allocates and compiles
    times = []
    for _ in range(REPEATS):
        start_ns = clock.monotonic_ns()
        scorer.encode(pictures)
        times.append(clock.monotonic_ns() - start_ns)
    return sorted(times)[REPEATS // 2]


def _pictures(count: int) -> list[Image]:
    """Noise: arithmetic on zeros can be faster than on pictures."""
    noise = np.random.default_rng(0)
    return [noise.integers(0, 256, FRAME_SHAPE, dtype=np.uint8) for _ in range(count)]
