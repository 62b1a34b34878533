"""Laws of the batching policy. Time is a number here; nothing waits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.graphs import Bucketed
from daemon.batching import (
    ANSWER_NS,
    MILLISECOND,
    SPARE_NS,
    BatchPolicy,
    BatchTimes,
    CloseReason,
    bucket_for,
    buckets_for,
    buckets_up_to,
    choose_max_size,
    worth_growing,
)

DELAY_NS = 5 * MILLISECOND


@dataclass(frozen=True)
class Waits:
    line: int
    deadline_ns: int
    queued_ns: int = 0
    name: int = 0


def policy(max_size: int = 4, **took_ms: float) -> BatchPolicy[Waits]:
    """A policy that has measured `b1=30` as 30 ms for bucket 1, and so on, just now."""
    times = BatchTimes()
    for bucket, ms in took_ms.items():
        times.observe(int(bucket[1:]), int(ms * MILLISECOND))
    return BatchPolicy(max_size=max_size, max_delay_ns=DELAY_NS, times=times)


def waits(line: int = 1, *, due_ms: float = 500, queued_ms: float = 0, name: int = 0) -> Waits:
    return Waits(line, int(due_ms * MILLISECOND), int(queued_ms * MILLISECOND), name)


frames = st.builds(
    waits,
    st.integers(1, 4),
    due_ms=st.integers(0, 300),
    queued_ms=st.just(0),
    name=st.integers(),
)
events = st.lists(st.one_of(frames, st.integers(0, 50)), max_size=60)


@given(max_size=st.integers(1, 16), events=events, expected=st.integers(0, 3))
def test_every_frame_comes_out_exactly_once(max_size, events, expected):
    queue, now_ns = policy(max_size, b1=20, b16=100), 0
    came, left = [], []
    for event in events:
        if isinstance(event, Waits):
            queue.add(event)
            came.append(event)
        else:
            now_ns += event * MILLISECOND
            turn = queue.next(now_ns, expected=expected)
            left += [*turn.batch, *turn.expired]
    while len(queue):
        turn = queue.next(now_ns, expected=0)
        left += [*turn.batch, *turn.expired]
    assert sorted(map(id, came)) == sorted(map(id, left))


@given(max_size=st.integers(1, 16), waiting=st.lists(frames, min_size=1, max_size=60), now=st.integers(0, 300))
def test_a_batch_is_never_too_large_and_never_holds_an_expired_frame(max_size, waiting, now):
    queue = policy(max_size)
    for frame in waiting:
        queue.add(frame)
    now_ns = now * MILLISECOND
    turn = queue.next(now_ns, expected=0)
    assert len(turn.batch) <= max_size
    assert all(frame.deadline_ns > now_ns for frame in turn.batch)
    assert all(frame.deadline_ns <= now_ns for frame in turn.expired)


@given(due=st.lists(st.integers(100, 900), min_size=1, max_size=40, unique=True), max_size=st.integers(1, 8))
def test_one_line_leaves_in_the_order_of_its_deadlines(due, max_size):
    queue = policy(max_size)
    for ms in due:
        queue.add(waits(due_ms=ms))
    left = []
    while len(queue):
        left += queue.next(0, expected=0).batch
    assert [frame.deadline_ns // MILLISECOND for frame in left] == sorted(due)


@given(max_size=st.integers(1, 16), greedy=st.integers(1, 200), quiet_lines=st.integers(1, 5))
def test_a_greedy_line_cannot_keep_a_quiet_one_waiting(max_size, greedy, quiet_lines):
    queue = policy(max_size)
    for number in range(greedy):
        queue.add(waits(0, due_ms=100 + number / 1000))
    for line in range(1, quiet_lines + 1):
        queue.add(waits(line, due_ms=900))
    left: list[Waits] = []
    while not {frame.line for frame in left} >= set(range(1, quiet_lines + 1)):
        left += queue.next(0, expected=0).batch
    last_quiet = max(place for place, frame in enumerate(left) if frame.line)
    assert last_quiet < 2 * max(max_size, quiet_lines + 1)


def test_a_quota_outlives_the_batch_where_a_batch_holds_one_frame():
    queue = policy(max_size=1)
    for number in range(6):
        queue.add(waits(1, due_ms=100 + number))
    queue.add(waits(2, due_ms=900))
    order = [queue.next(0, expected=0).batch[0].line for _ in range(3)]
    assert 2 in order


def test_a_full_batch_closes_though_more_is_expected():
    queue = policy(max_size=2)
    queue.add(waits())
    queue.add(waits())
    assert queue.next(0, expected=5).reason is CloseReason.FULL


def test_an_idle_scorer_takes_what_waits_when_nothing_is_expected():
    queue = policy()
    queue.add(waits())
    assert queue.next(0, expected=1).reason is None
    assert queue.next(0, expected=0).reason is CloseReason.IDLE


def test_the_oldest_frame_waits_no_longer_than_the_delay():
    queue = policy()
    queue.add(waits(queued_ms=1))
    early = queue.next(4 * MILLISECOND, expected=1)
    assert early.batch == ()
    assert early.wake_ns == 6 * MILLISECOND
    assert queue.next(6 * MILLISECOND, expected=1).reason is CloseReason.DELAY


def test_a_batch_closes_while_its_most_urgent_frame_can_still_be_answered():
    queue = policy(b1=30)
    queue.add(waits(due_ms=54, queued_ms=2))
    early = queue.next(3 * MILLISECOND, expected=1)
    assert early.batch == ()
    assert early.wake_ns == 54 * MILLISECOND - 30 * MILLISECOND - ANSWER_NS - SPARE_NS
    assert queue.next(4 * MILLISECOND, expected=1).reason is CloseReason.DEADLINE


@given(frames=st.lists(frames, min_size=1, max_size=3), expected=st.integers(1, 3))
def test_looking_again_at_the_wake_time_closes_a_batch(frames, expected):
    queue = policy(max_size=8)
    for frame in frames:
        queue.add(frame)
    turn = queue.next(0, expected=expected)
    if turn.wake_ns is not None:
        later = queue.next(turn.wake_ns, expected=expected)
        assert later.batch or later.expired


def test_a_frame_that_no_batch_can_answer_in_time_costs_no_computing():
    queue = policy(b1=30)
    queue.add(waits(due_ms=35, name=1))
    queue.add(waits(due_ms=500, name=2))
    turn = queue.next(0, expected=0)
    assert [frame.name for frame in turn.expired] == [1]
    assert [frame.name for frame in turn.batch] == [2]


def test_an_urgent_frame_is_not_held_up_by_company():
    queue = policy(max_size=4, b1=10, b2=40, b4=80)
    queue.add(waits(1, due_ms=30))
    queue.add(waits(2, due_ms=500))
    assert [frame.line for frame in queue.next(0, expected=0).batch] == [1]
    assert [frame.line for frame in queue.next(0, expected=0).batch] == [2]


def test_a_frame_that_waits_alone_is_tried_however_slow_the_last_batches_were():
    queue = policy(max_size=1, b1=800)
    queue.add(waits(due_ms=400))
    queue.add(waits(due_ms=500))
    turn = queue.next(0, expected=0)
    assert (len(turn.expired), len(turn.batch)) == (1, 1)
    queue.add(waits(due_ms=500))
    assert len(queue.next(0, expected=0).batch) == 1


@pytest.mark.parametrize(("max_size", "took_ms"), [(1, {1: 30}), (8, {1: 10, 2: 12, 4: 16, 8: 24})])
def test_an_overloaded_scorer_still_answers_as_many_frames_as_it_can(max_size, took_ms):
    """Three times more frames than capacity, for ten seconds of made-up time."""
    queue = policy(max_size, **{f"b{bucket}": ms for bucket, ms in took_ms.items()})
    capacity = max_size / took_ms[max_size]
    every_ms = 1 / (3 * capacity)
    now_ms, next_ms, answered = 0.0, 0.0, 0
    while now_ms < 9_000:
        while next_ms <= now_ms:
            queue.add(waits(int(next_ms * 7) % 4, due_ms=next_ms + 500, queued_ms=next_ms))
            next_ms += every_ms
        turn = queue.next(int(now_ms * MILLISECOND), expected=1)
        if not turn.batch:
            now_ms = next_ms
            continue
        now_ms += took_ms[bucket_for(len(turn.batch), buckets_up_to(max_size))]
        answered += sum(frame.deadline_ns >= now_ms * MILLISECOND for frame in turn.batch)
    assert answered >= 0.9 * capacity * 9_000


def test_measurement_chooses_small_batches_on_a_cpu_and_large_ones_on_a_gpu():
    cpu = {1: 36, 2: 73, 4: 150, 8: 320, 16: 900}
    gpu = {1: 6, 2: 7, 4: 9, 8: 13, 16: 22}
    assert choose_max_size(cpu, shortest_deadline_ns=4000) == 1
    assert choose_max_size(gpu, shortest_deadline_ns=500) == 16
    assert choose_max_size(gpu, shortest_deadline_ns=40) == 4
    assert choose_max_size(gpu, shortest_deadline_ns=1) == 1


def test_a_tenth_more_frames_is_not_worth_twice_the_latency():
    assert choose_max_size({1: 70, 2: 127}, shortest_deadline_ns=4000) == 1
    assert choose_max_size({1: 70, 2: 110}, shortest_deadline_ns=4000) == 2


def test_buckets_are_powers_of_two_and_the_size_itself():
    assert buckets_up_to(16) == (1, 2, 4, 8, 16)
    assert buckets_up_to(6) == (1, 2, 4, 6)
    assert buckets_up_to(1) == (1,)
    assert [bucket_for(size, (1, 2, 4, 6)) for size in (1, 3, 5, 9)] == [1, 4, 6, 6]


@pytest.mark.parametrize("max_size", [1, 3, 6, 16, 33, 64])
def test_the_bucket_that_is_reported_is_the_one_that_an_encoder_computes(max_size):
    buckets = buckets_for(max_size)
    computed = Bucketed(lambda batch: (batch,), buckets=buckets, capture=False)
    for size in range(1, max_size + 1):
        assert computed.bucket(size) == bucket_for(size, buckets)
    assert BatchPolicy(max_size=max_size, max_delay_ns=0, times=BatchTimes()).buckets == buckets
    assert buckets_for(0) == buckets_up_to(16)


def test_the_95th_percentile_and_the_median_come_from_the_last_measurements():
    times = BatchTimes()
    for ns in range(1, 101):
        times.observe(4, ns)
    assert times.p95_ns(4) == 99
    assert times.median_ns(4) == 85
    assert times.p95_ns(8) == 0


@given(lines=st.lists(st.integers(1, 4), min_size=1, max_size=40), takers=st.integers(1, 6))
def test_idle_lanes_share_what_waits_evenly(lines, takers):
    """Together they leave nothing that their batches could hold."""
    queue = policy(8)
    for line in lines:
        queue.add(waits(line))
    sizes = [len(queue.next(0, expected=0, takers=idle).batch) for idle in range(takers, 0, -1)]
    assert sum(sizes) == min(len(lines), 8 * takers)
    assert max(sizes) - min(sizes) <= 1


def test_two_idle_lanes_take_half_each_of_what_waits():
    queue = policy(8)
    for name in range(4):
        queue.add(waits(name=name))
    assert [len(queue.next(0, expected=0, takers=idle).batch) for idle in (2, 1)] == [2, 2]


def test_sizes_stop_growing_where_a_larger_one_brings_fewer_frames_or_comes_too_late():
    assert worth_growing({1: 30, 2: 50}, shortest_deadline_ns=500)
    assert not worth_growing({1: 30, 2: 50, 4: 120}, shortest_deadline_ns=500)
    assert not worth_growing({1: 30, 2: 50}, shortest_deadline_ns=199)
