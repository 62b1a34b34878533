"""Fairness over minutes of made-up time: the real admission and batching, twenty lines, one of them greedy."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.batching import BatchPolicy, BatchTimes
from tests.daemon.plant_simulation import Plant
from tests.daemon.test_batching import Waits, waits

LITE_ON_TWO_CORES = {1: 33.0}
"""Milliseconds a batch; measured (docs/notes/0009-engine.md), where single frames are the quickest."""
LARGE_BATCHES = {1: 6.0, 2: 7.0, 4: 9.0, 8: 13.0, 16: 22.0}
"""The shape of a GPU's times: a frame in company costs a quarter."""
LOAD = 0.8
GREED = 10


def mixed_rates(capacity_hz: float, *, seed: int) -> dict[int, float]:
    """Twenty lines, the busiest ten times the slowest, together LOAD of what the scorer can do."""
    drawn = random.Random(seed)
    weights = [drawn.choice((1, 2, 4, 7, 10)) for _ in range(20)]
    return {line: LOAD * capacity_hz * weight / sum(weights) for line, weight in enumerate(weights)}


@pytest.mark.parametrize("window", [2, 1000], ids=["credit window", "no window"])
@pytest.mark.parametrize("greedy", ["slowest", "busiest"])
@pytest.mark.parametrize(
    ("took_ms", "seconds"), [(LITE_ON_TWO_CORES, 60), (LARGE_BATCHES, 5)], ids=["lite", "large batches"]
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_camera_at_ten_times_its_share_makes_no_other_line_miss_a_deadline(
    took_ms, seconds, greedy, window, seed
):
    capacity_hz = 1000 * max(took_ms) / took_ms[max(took_ms)]
    rates = mixed_rates(capacity_hz, seed=seed)
    line = (min if greedy == "slowest" else max)(rates, key=lambda line: rates[line])
    outcome = Plant(rates | {line: GREED * rates[line]}, took_ms=took_ms, seed=seed, window=window).run(seconds)
    others = [other for other in rates if other != line]
    assert {other: outcome.missed[other] for other in others if outcome.missed[other]} == {}
    answered = sum(outcome.answered[other] for other in others)
    assert answered == pytest.approx(seconds * sum(rates[other] for other in others), rel=0.02)


def test_what_the_others_leave_is_the_greedy_cameras():
    """Fairness is not bought with idling: nearly all of the scorer's time is used."""
    rates = mixed_rates(1000 / 33, seed=1)
    line = max(rates, key=lambda line: rates[line])
    outcome = Plant(rates | {line: GREED * rates[line]}, took_ms=LITE_ON_TWO_CORES, seed=1).run(120)
    assert sum(outcome.answered.values()) >= 0.9 * 120 * 1000 / 33
    assert outcome.answered[line] > 1.5 * rates[line] * 120


def test_twenty_lines_within_their_shares_all_answer_in_time():
    rates = mixed_rates(1000 / 33, seed=4)
    outcome = Plant(rates, took_ms=LITE_ON_TWO_CORES, seed=4).run(120)
    assert not outcome.missed
    assert not outcome.refused


@given(
    max_size=st.integers(1, 16),
    lines=st.integers(2, 6),
    arrivals=st.lists(st.integers(0, 5), min_size=1, max_size=50),
    urgent_ms=st.integers(1, 400),
)
def test_between_two_frames_of_a_line_that_waits_no_other_line_gets_more_than_two_quotas(
    max_size, lines, arrivals, urgent_ms
):
    """No starvation, whatever keeps arriving and however much more urgent it is."""
    queue: BatchPolicy[Waits] = BatchPolicy(max_size=max_size, max_delay_ns=0, times=BatchTimes())
    queue.add(waits(0, due_ms=100_000))
    since: dict[int, int] = {}
    quota = max(1, max_size // 2)
    for arrival in arrivals:
        for _ in range(max_size):
            queue.add(waits(0, due_ms=100_000))
            queue.add(waits(1 + arrival % (lines - 1), due_ms=urgent_ms))
        for frame in queue.next(0, expected=0).batch:
            since[frame.line] = since.get(frame.line, 0) + 1
            if frame.line == 0:
                since = {}
            assert max(since.values(), default=0) <= 2 * quota
