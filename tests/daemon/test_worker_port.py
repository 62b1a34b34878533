"""One worker process behind its port: answers come up, a lost life's frames are named, the next life is clean."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from daemon.clock import SystemClock
from daemon.link import FrameHeader, ScoredBatch, ScoredFrame, WorkerOrders
from daemon.observer import Observer
from daemon.supervisor import WatchOptions, WorkerWatch
from daemon.worker_port import ZmqWorkerPort

PATIENCE_S = 60.0


class EchoProcess:
    """The part of WorkerProcess that the port needs, around tests.daemon.echo_worker."""

    def __init__(self, life: int, frames: str, upward: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.daemon.echo_worker", str(life), frames, upward], stdin=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()
        self.stop(PATIENCE_S)

    def stop(self, timeout_s: float) -> int:
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self._process.wait(PATIENCE_S)


class Ups(Observer):
    """What the port reports."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def worker_up(self, gpu: str, *, up: bool) -> None:
        self.events["up" if up else "down"] += 1

    def worker_restarted(self, gpu: str, reason: str) -> None:
        self.events[reason] += 1


class Life:
    """A port that is turned by hand."""

    def __init__(self, run_dir: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.ups = Ups()
        self.pids: list[int] = []
        self.run_dir = run_dir
        self.answers: list[ScoredFrame] = []
        self.lost: list[str] = []
        self.port = ZmqWorkerPort(
            self.context,
            run_dir=run_dir,
            launch=self.launch,
            watch=WorkerWatch(WatchOptions(beat_timeout_s=2.0)),
            observer=self.ups,
            clock=SystemClock(),
        )

    def launch(self, life: int, frames: str, upward: str) -> EchoProcess:
        process = EchoProcess(life, frames, upward)
        self.pids.append(process.pid)
        return process

    def until(self, condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up
            self.port.poll_socket.poll(20)
            for message in self.port.receive():
                if isinstance(message, ScoredBatch):
                    self.answers += message.frames
            self.lost += self.port.check()


@pytest.fixture
def life() -> Iterator[Life]:
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    started = Life(folder)
    yield started
    started.port.close()
    started.context.term()
    assert list(folder.iterdir()) == []
    shutil.rmtree(folder)


def header(key: str, camera: str = "cam1") -> FrameHeader:
    return FrameHeader(
        key=key,
        line=4,
        camera=camera,
        encoding="raw",
        dtype="uint8",
        shape=(1,),
        color="bgr",
        received_ns=0,
        deadline_ns=0,
    )


def test_no_frame_is_taken_before_a_worker_is_ready(life: Life) -> None:
    assert not life.port.ready
    assert not life.port.send(header("a"), memoryview(b"x"))


def test_a_frame_goes_down_and_its_answer_comes_up(life: Life) -> None:
    life.until(lambda: life.port.ready)
    assert life.port.send(header("a"), memoryview(b"x"))
    life.until(lambda: life.answers)
    assert [(answer.key, answer.decision) for answer in life.answers] == [("a", "accept")]
    assert life.port.status is not None
    assert life.ups.events == {"up": 1}


def test_a_killed_worker_names_its_frames_and_a_new_life_does_not_see_them(life: Life) -> None:
    life.until(lambda: life.port.ready)
    life.port.send(header("answered"), memoryview(b"x"))
    life.until(lambda: life.answers)
    life.port.send(header("lost", camera="mute"), memoryview(b"x"))
    os.kill(life.pids[0], signal.SIGKILL)
    life.until(lambda: life.lost)
    assert life.lost == ["lost"]
    assert not life.port.ready
    life.until(lambda: life.port.ready)
    life.port.send(header("after"), memoryview(b"x"))
    life.until(lambda: len(life.answers) == 2)
    assert [(answer.key, answer.score) for answer in life.answers] == [("answered", 1.0), ("after", 2.0)]
    assert life.ups.events == {"up": 2, "down": 1, "exited": 1}


def test_a_stopped_worker_is_silent_and_replaced(life: Life) -> None:
    life.until(lambda: life.port.ready)
    os.kill(life.pids[0], signal.SIGSTOP)
    life.until(lambda: life.ups.events["silent"])
    assert len(life.pids) == 2


def test_what_cannot_be_read_is_passed_over(life: Life) -> None:
    stranger = life.context.socket(zmq.PUSH)
    stranger.connect(f"ipc://{life.run_dir}/upward-0.sock")
    stranger.send(b"\xc1")
    stranger.send(b"\x80")
    life.until(lambda: life.port.ready)
    stranger.close(0)


def orders(*lines: int) -> WorkerOrders:
    return WorkerOrders(
        lines=lines,
        keep_heatmaps=("reject",),
        keep_frames=(),
        keep_accepted_every=0,
        log_format="json",
        log_level="INFO",
    )


def test_orders_reach_a_worker_that_is_starting_one_that_runs_and_its_successor(life: Life) -> None:
    def has(*lines: str) -> bool:
        return life.port.status is not None and list(life.port.status.lines) == list(lines)

    life.port.order(orders(4))
    life.until(lambda: has("4"))
    life.port.order(orders(4, 5))
    life.until(lambda: has("4", "5"))
    os.kill(life.pids[0], signal.SIGKILL)
    life.until(lambda: len(life.pids) == 2 and has("4", "5"))
