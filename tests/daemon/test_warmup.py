"""The warm-up measures what nobody set: batch sizes and lanes."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from daemon.clock import SystemClock
from daemon.lanes import Lanes
from daemon.warmup import Cores, warm_up
from daemon.work import Image
from tests.daemon.fake_scorer import FakeScorer
from tests.daemon.worker_parts import CLOCK, SteppedClock


class SleepingScorer(FakeScorer):
    """Takes its time and no processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        threading.Event().wait(self._seconds)
        return super().encode(images, banks)


class ThreadTime(SystemClock):
    """Every thread has a time of its own, as if each had a core to itself."""

    def __init__(self) -> None:
        self._local = threading.local()

    def monotonic_ns(self) -> int:
        return int(getattr(self._local, "ns", 0))

    def pass_ms(self, ms: float) -> None:
        self._local.ns = self.monotonic_ns() + int(ms * 1e6)


class SharingScorer(FakeScorer):
    """10 ms a frame on one core; whoever shares a batch out to several pays 15 ms more for it."""

    def __init__(self, time: ThreadTime) -> None:
        super().__init__()
        self._time = time
        self._local = threading.local()

    def compute_with(self, threads: int) -> None:
        self._local.threads = threads

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        threads = self._local.threads
        self._time.pass_ms(10 * math.ceil(len(images) / threads) + (15 if threads > 1 else 0))
        return super().encode(images, banks)


def test_warm_up_gives_every_lane_its_share_of_the_cores():
    scorer, told = FakeScorer(), []
    cores = Cores(count=4, compute_with=lambda threads: told.append((threading.current_thread(), threads)))
    warmed = warm_up(scorer, max_size=1, shortest_deadline_ns=1, clock=CLOCK, lanes=2, cores=cores)
    assert warmed.lanes == Lanes(count=2, threads=2)
    assert told[0] == (threading.current_thread(), 4)  # the sizes of a batch are measured in one lane
    assert told[-1] == (threading.current_thread(), 2)
    assert {threads for thread, threads in told if thread is not threading.current_thread()} == {2}


def test_warm_up_takes_as_many_lanes_as_bring_frames():
    """A scorer of a machine whose four cores each do a frame in 10 ms, and share one frame out in vain."""
    cores = Cores(count=4)
    warmed = warm_up(
        SleepingScorer(0.01), max_size=1, shortest_deadline_ns=10**12, clock=CLOCK, lanes=0, cores=cores
    )
    assert warmed.lanes == Lanes(count=4, threads=1)
    assert set(warmed.batch_ns) == {1}


def test_a_batch_that_pays_in_one_lane_only_is_not_kept_for_several():
    time = ThreadTime()
    scorer = SharingScorer(time)
    cores = Cores(count=4, compute_with=scorer.compute_with)
    alone = warm_up(scorer, max_size=0, shortest_deadline_ns=10**10, clock=time, lanes=1, cores=cores)
    assert alone.max_size == 16
    beside = warm_up(scorer, max_size=0, shortest_deadline_ns=10**10, clock=time, lanes=4, cores=cores)
    assert beside.max_size == 1
    asked = warm_up(scorer, max_size=8, shortest_deadline_ns=10**10, clock=time, lanes=4, cores=cores)
    assert asked.max_size == 8


def test_warm_up_waits_until_a_batch_is_computed_before_it_looks_at_the_clock():
    """A GPU's call returns at once; without the wait every batch would seem to take no time."""
    clock = SteppedClock()

    def computing() -> None:
        clock.ahead_ns += 40_000_000

    warmed = warm_up(
        FakeScorer(), max_size=1, shortest_deadline_ns=10**12, clock=clock, lanes=1, cores=Cores(finish=computing)
    )
    assert warmed.batch_ns[1] >= 40_000_000


def test_warm_up_runs_every_size_that_may_come():
    scorer = FakeScorer()
    warmed = warm_up(scorer, max_size=6, shortest_deadline_ns=1, clock=CLOCK)
    assert warmed.max_size == 6
    assert set(scorer.batches) == set(warmed.batch_ns) == {1, 2, 4, 6}


def test_warm_up_leaves_out_the_sizes_that_the_shortest_deadline_rules_out():
    scorer = FakeScorer()
    warmed = warm_up(scorer, max_size=0, shortest_deadline_ns=1, clock=CLOCK)
    assert warmed.max_size == 1
    assert set(scorer.batches) == {1}
