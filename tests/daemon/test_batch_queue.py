"""The batch queue between real threads."""

from __future__ import annotations

import threading

from daemon.batch_queue import BatchQueue
from tests.daemon.fake_scorer import frame
from tests.daemon.patience import until
from tests.daemon.worker_parts import CLOCK, fill, queue


def test_the_queue_hands_out_what_came_and_is_drained_after_it_closes():
    waiting = queue()
    fill(waiting, frame("a"), frame("b"))
    assert waiting.weight == 2 * 16 * 16 * 3
    taken = waiting.take(1.0)
    assert [item.header.key for item in taken.batch] == ["a", "b"]
    assert waiting.weight == 0
    waiting.close()
    assert waiting.drained


def test_a_waiting_scorer_wakes_when_a_frame_arrives():
    waiting, taken = queue(), []
    taker = threading.Thread(target=lambda: taken.append(waiting.take(20.0)))
    taker.start()
    fill(waiting, frame("a"))
    taker.join(20)
    assert [item.header.key for item in taken[0].batch] == ["a"]


def test_a_frame_that_will_not_come_no_longer_holds_up_the_others():
    waiting = BatchQueue(max_size=8, max_delay_ns=10**12, clock=CLOCK)
    waiting.expect()
    fill(waiting, frame("a"))
    assert waiting.take(0.0).batch == ()
    waiting.arrive(None)
    assert len(waiting.take(20.0).batch) == 1


def test_a_lane_that_leaves_frames_behind_wakes_the_next():
    """Both wait for the second of two frames; its arrival wakes one of them, who takes its half."""
    waiting, taken = BatchQueue(max_size=8, max_delay_ns=10**12, clock=CLOCK), []
    waiting.expect()
    waiting.expect()
    waiting.arrive(frame("a"))
    takers = [threading.Thread(target=lambda: taken.append(waiting.take(60.0)), daemon=True) for _ in range(2)]
    for taker in takers:
        taker.start()
    until(lambda: waiting._takers == 2)
    waiting.arrive(frame("b"))
    for taker in takers:
        taker.join(20)
    assert sorted(item.header.key for turn in taken for item in turn.batch) == ["a", "b"]
    assert [len(turn.batch) for turn in taken] == [1, 1]
