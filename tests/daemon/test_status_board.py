"""What the worker says of itself, and that it says so while it computes."""

from __future__ import annotations

import zmq

from daemon.link import WorkerStatus, unpack_upward
from daemon.status_board import Beat
from tests.daemon.worker_parts import CLOCK, PATIENCE_MS, StagedBanks, board


def receive_status(upward: zmq.Socket[bytes]) -> WorkerStatus:
    assert upward.poll(PATIENCE_MS)
    message = unpack_upward(upward.recv())
    assert isinstance(message, WorkerStatus)
    return message


def test_the_beat_goes_on_while_the_scorer_is_busy_and_says_for_how_long(context):
    upward, told = context.socket(zmq.PULL), board()
    port = upward.bind_to_random_port("tcp://127.0.0.1")
    beat = Beat(told, banks=StagedBanks(), context=context, endpoint=f"tcp://127.0.0.1:{port}", every_s=0.01)
    told.busy(CLOCK.monotonic_ns() - 5_000_000_000)
    told.turned()
    beat.start()
    status = receive_status(upward)
    assert (status.phase, status.progress, status.life) == ("loading", 1, 1)
    assert status.busy_ms >= 5000
    assert status.rss_bytes > 0
    told.busy(None)
    told.enter("ready", queued=lambda: 3)
    beat.now()
    while (status := receive_status(upward)).phase != "ready":
        pass
    assert (status.busy_ms, status.queued) == (0.0, 3)
    told.enter("stopping")
    beat.stop()
    while receive_status(upward).phase != "stopping":
        pass
    upward.close(0)


def test_progress_is_the_slowest_lanes_and_the_oldest_batch_tells_how_long_it_runs():
    told = board()
    told.warmed(slowest_ns=0, lanes=2)
    told.turned(0)
    told.turned(0)
    assert told.status(StagedBanks().status()).progress == 0
    told.turned(1)
    told.busy(CLOCK.monotonic_ns() - 5_000_000_000, 1)
    told.busy(CLOCK.monotonic_ns(), 0)
    status = told.status(StagedBanks().status())
    assert (status.progress, status.lanes) == (1, 2)
    assert status.busy_ms >= 5000
    told.busy(None, 1)
    assert told.status(StagedBanks().status()).busy_ms < 5000
