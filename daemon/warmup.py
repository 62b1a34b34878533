"""Warm-up: every batch size runs before READY, and measured times choose what nobody set.

That is the frames of a batch first, then the number of lanes, then the frames again beside so many lanes. What is
measured of lanes is a batch while all of them are busy: the time that its frames will wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median_low

import numpy as np

from daemon.batching import buckets_for, buckets_up_to, choose_max_size, worth_growing
from daemon.clock import Clock
from daemon.lanes import Lanes, choices, choose, shared_out
from daemon.work import Image, Scorer

log = logging.getLogger(__name__)

REPEATS = 3
ROUNDS = 2
FRAME_SHAPE = (480, 640, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """max_size: frames a batch may hold. batch_ns: bucket -> median time of one batch, in ns."""

    max_size: int
    batch_ns: dict[int, int]
    lanes: Lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """What lanes share out. A GPU counts as two: it computes a batch while the next one is prepared.

    compute_with: a thread says with how many cores it computes. finish: waits until all that it asked is computed.
    """

    count: int = 1
    compute_with: Callable[[int], None] = lambda threads: None
    finish: Callable[[], None] = lambda: None


ONE = Cores()


def warm_up(
    scorer: Scorer,
    *,
    max_size: int,
    shortest_deadline_ns: int,
    clock: Clock,
    lanes: int = 1,
    cores: Cores = ONE,
) -> WarmUp:
    """Run the encoder at every bucket, then side by side in every lane.

    max_size: 0 lets the measurement choose among 1 to 16; sizes that cannot be chosen are then not run at all.
    lanes: 0 lets it choose as many as the cores and the shortest deadline carry.
    """
    run, one = _Lanes(scorer, cores, clock), shared_out(cores.count, 1)
    batch_ns: dict[int, int] = {}
    for bucket in buckets_for(max_size):
        batch_ns[bucket] = run.batch_ns(one, bucket)
        if not max_size and not worth_growing(batch_ns, shortest_deadline_ns=shortest_deadline_ns):
            break
    size = max_size or choose_max_size(batch_ns, shortest_deadline_ns=shortest_deadline_ns)
    chosen = shared_out(cores.count, lanes) if lanes else _choose_lanes(run, size, shortest_deadline_ns)
    if chosen != one:
        batch_ns = {bucket: run.batch_ns(chosen, bucket) for bucket in buckets_up_to(size)}
        if not max_size:  # what cores gain by a larger batch, lanes may have gained already
            size = choose_max_size(batch_ns, shortest_deadline_ns=shortest_deadline_ns)
    cores.compute_with(chosen.threads)
    return WarmUp(max_size=size, batch_ns=batch_ns, lanes=chosen)


def _choose_lanes(run: _Lanes, size: int, shortest_deadline_ns: int) -> Lanes:
    """In turn, and the best of each: what else the machine does while it starts disturbs single measurements."""
    tried = choices(run.cores.count)
    if len(tried) == 1:
        return tried[0]
    rounds = [{lanes: min(run.times_ns(lanes, size)) for lanes in tried} for _ in range(ROUNDS)]
    batch_ns = {lanes: min(took[lanes] for took in rounds) for lanes in tried}
    log.info("a batch takes %s", ", ".join(f"{ns / 1e6:.1f} ms with {lanes}" for lanes, ns in batch_ns.items()))
    return choose(batch_ns, shortest_deadline_ns=shortest_deadline_ns)


class _Lanes:
    """Runs batches side by side: the first lane in the calling thread, as it will be, the others beside it."""

    def __init__(self, scorer: Scorer, cores: Cores, clock: Clock) -> None:
        self.cores = cores
        self._scorer = scorer
        self._clock = clock

    def batch_ns(self, lanes: Lanes, size: int) -> int:
        """How long such a batch usually takes."""
        return median_low(self.times_ns(lanes, size))

    def times_ns(self, lanes: Lanes, size: int) -> list[int]:
        """How long batches of this size take while all lanes run one."""
        times = partial(self._times, _pictures(size), lanes.threads)
        if lanes.count == 1:
            return times()
        with ThreadPoolExecutor(lanes.count - 1, thread_name_prefix="lane") as others:
            beside = [others.submit(times) for _ in range(lanes.count - 1)]
            here = times()
            return here + [ns for future in beside for ns in future.result()]

    def _times(self, pictures: list[Image], threads: int) -> list[int]:
        self.cores.compute_with(threads)
        self._time(pictures)  # the first run allocates and compiles
        return [self._time(pictures) for _ in range(REPEATS)]

    def _time(self, pictures: list[Image]) -> int:
        start_ns = self._clock.monotonic_ns()
        self._scorer.encode(pictures)
        self.cores.finish()
        return self._clock.monotonic_ns() - start_ns


def _pictures(count: int) -> list[Image]:
    """Noise: arithmetic on zeros can be faster than on pictures."""
    noise = np.random.default_rng(0)
    return [noise.integers(0, 256, FRAME_SHAPE, dtype=np.uint8) for _ in range(count)]
