"""How a CPU is shared out to lanes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core
from daemon.lanes import Lanes, choices, choose, shared_out

ONE, TWO, FOUR = choices(4)


@given(st.integers(1, 256))
def test_no_choice_takes_more_threads_than_there_are_cores(cores):
    assert choices(cores)[0] == Lanes(count=1, threads=cores)
    assert all(lanes.count * lanes.threads <= cores for lanes in choices(cores))


def test_more_lanes_than_cores_compute_with_a_thread_each():
    assert shared_out(2, 3) == Lanes(count=3, threads=1)


def test_lanes_are_taken_while_each_step_brings_frames():
    assert choose({ONE: 30, TWO: 40, FOUR: 90}, shortest_deadline_ns=10**6) == TWO
    assert choose({ONE: 30, TWO: 40, FOUR: 60}, shortest_deadline_ns=10**6) == FOUR


def test_a_gain_within_the_noise_is_not_worth_the_latency():
    assert choose({ONE: 50, TWO: 98}, shortest_deadline_ns=10**6) == ONE


def test_lanes_never_make_a_frame_late():
    assert choose({ONE: 30, TWO: 40}, shortest_deadline_ns=159) == ONE
    assert choose({ONE: 300, TWO: 400}, shortest_deadline_ns=159) == ONE


def test_computing_without_a_thread_is_refused():
    with pytest.raises(ValueError, match="at least 1 thread"):
        core.compute_with(0)
