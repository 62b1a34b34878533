"""systemd's protocol over a real datagram socket, and the gate before the watchdog."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.notify import Notifier, ProgressGate, watchdog_interval_s


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        listening.bind(str(Path(folder) / "notify"))
        listening.settimeout(10)
        yield listening


def test_each_message_is_one_datagram_in_systemds_words(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    notifier.loading("loading the model", more_s=15)
    notifier.ready("line 4\ninspects")
    notifier.status("busy")
    notifier.watchdog()
    notifier.stopping()
    notifier.close()
    assert [manager.recv(4096).decode() for _ in range(5)] == [
        "EXTEND_TIMEOUT_USEC=15000000\nSTATUS=loading the model",
        "READY=1\nSTATUS=line 4 inspects",
        "STATUS=busy",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_an_abstract_socket_is_reached() -> None:
    name = f"ag-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        notifier = Notifier(f"@{name}")
        notifier.watchdog()
        notifier.close()
        assert listening.recv(64) == b"WATCHDOG=1"


def test_without_a_manager_or_with_a_dead_one_nothing_happens(manager: socket.socket) -> None:
    silent = Notifier("")
    silent.ready("here")
    silent.close()
    orphan = Notifier("/tmp/ag-no-such-socket")
    orphan.ready("here")
    orphan.close()


def test_the_gate_opens_only_when_every_part_has_moved() -> None:
    gate = ProgressGate()
    assert gate.opens({"loop": 1, "worker": 10})
    assert not gate.opens({"loop": 2, "worker": 10})
    assert gate.standing({"loop": 2, "worker": 10}) == ["worker"]
    assert gate.opens({"loop": 2, "worker": 11})


def test_the_watchdog_interval_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_interval_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval_s() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_interval_s() is None
