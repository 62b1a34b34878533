"""The caretaker's looks, without its thread; and the flag that everything stops by."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.caretaker import Caretaker, Watched
from daemon.exit_codes import ExitCode
from daemon.notify import Notifier
from daemon.observer import Observer
from daemon.readiness import CHECKS, Check
from daemon.stopping import StopFlag, stop_on_a_dying_thread, stop_on_signals


class Stage:
    """A caretaker whose every input a test can set; `heard` is what systemd was told since the last call."""

    def __init__(self, manager: socket.socket) -> None:
        self._manager = manager
        self.failing: dict[str, str] = {}
        self.thread_lives = True
        self.marks = {"ingress": 0, "worker": 0}
        self.stop = StopFlag()
        self.notifier = Notifier(manager.getsockname())
        self.caretaker = Caretaker(
            Watched(
                threads={"recorder": lambda: self.thread_lives},
                checks=lambda: {
                    name: Check(ok=name not in self.failing, detail=self.failing.get(name, "fine"))
                    for name in CHECKS
                },
                marks=lambda: dict(self.marks),
                summary=lambda: "inspecting",
            ),
            stop=self.stop,
            notifier=self.notifier,
            observer=Observer(),
            start_patience_s=10,
        )

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._manager.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def stage() -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(Path(folder) / "n"))
        manager.setblocking(False)
        stage = Stage(manager)
        yield stage
        stage.notifier.close()


def test_ready_is_told_once_when_the_worker_is_warm_even_while_a_line_has_no_bank(stage: Stage) -> None:
    stage.failing = {"worker": "loading", "banks": "line 4: never enrolled"}
    stage.caretaker.look()
    first = stage.heard()
    assert first[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert "worker: loading" in first[0]
    del stage.failing["worker"]
    stage.caretaker.look()
    stage.caretaker.look()
    told = [message for message in stage.heard() if message.startswith("READY=1")]
    assert told == ["READY=1\nSTATUS=not ready (banks: line 4: never enrolled)"]


def test_loading_stops_asking_for_more_time_when_its_patience_ends(stage: Stage) -> None:
    stage.failing = {"worker": "loading"}
    for _ in range(20):
        stage.caretaker.look()
    asked = [message.startswith("EXTEND_TIMEOUT_USEC=") for message in stage.heard()]
    assert asked == [True, True, False, False]


def test_the_watchdog_is_petted_only_while_everything_moves(stage: Stage) -> None:
    stage.caretaker.look()
    stage.heard()
    stage.marks = {"ingress": 1, "worker": 1}
    stage.caretaker.look()
    assert stage.heard() == ["WATCHDOG=1"]
    stage.marks = {"ingress": 2, "worker": 1}
    stage.caretaker.look()
    assert stage.heard() == []


def test_a_dead_thread_stops_the_service_with_the_software_exit_code(stage: Stage) -> None:
    stage.thread_lives = False
    stage.caretaker.look()
    assert stage.stop.is_set()
    assert stage.stop.exit_code == ExitCode.SOFTWARE == 70


def test_stopping_is_told_once_and_the_watchdog_no_more(stage: Stage) -> None:
    stage.stop.request()
    stage.caretaker.look()
    stage.caretaker.look()
    assert stage.heard() == ["STOPPING=1\nSTATUS=draining"]


def test_a_signal_only_sets_the_flag() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    stop = StopFlag()
    try:
        stop_on_signals(stop)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert stop.exit_code == ExitCode.OK
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_thread_that_raises_stops_the_service_at_once(caplog: pytest.LogCaptureFixture) -> None:
    before = threading.excepthook
    stop = StopFlag()

    def work() -> None:
        raise RuntimeError("nobody foresaw this")

    try:
        stop_on_a_dying_thread(stop)
        thread = threading.Thread(target=work, name="recorder")
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before
    assert stop.exit_code == ExitCode.SOFTWARE
    assert "recorder died of RuntimeError" in caplog.text
    assert "nobody foresaw this" in caplog.text


def test_the_first_failure_names_the_exit_code() -> None:
    stop = StopFlag()
    stop.fail("no model", ExitCode.CONFIG)
    stop.fail("a thread died")
    stop.request()
    assert stop.exit_code == ExitCode.CONFIG
