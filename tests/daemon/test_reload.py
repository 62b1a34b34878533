"""Reloading: read beside the loop, taken over whole or not at all, and told to systemd in its own words."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from daemon.clock import SystemClock
from daemon.notify import Notifier
from daemon.observer import Observer
from daemon.reload import Reloader, flag_on_sighup
from daemon.settings import Settings, load_settings
from daemon.stopping import StopFlag
from tests.daemon.patience import until

GOOD = "[[lines]]\nid = 4\n"


class Results(Observer):
    def __init__(self) -> None:
        self.results: list[str] = []

    def reloaded(self, result: str) -> None:
        self.results.append(result)


class Desk:
    """A reloader over a real file, turned by hand as the loop does."""

    def __init__(self, folder: Path, notifier: Notifier, load: Callable[[], Settings] | None = None) -> None:
        self.file = folder / "aprilgan.toml"
        self.file.write_text(GOOD)
        self.observer = Results()
        self.asked = threading.Event()
        self.taken: list[Settings] = []
        self.reloader = Reloader(
            load_settings(self.file),
            asked=self.asked,
            load=load or partial(load_settings, self.file),
            notifier=notifier,
            observer=self.observer,
            clock=SystemClock(),
        )
        self.reloader.followed_by(self.taken.append)

    def reload(self, text: str) -> str:
        """Write the file and ask; what became of it."""
        self.file.write_text(text)
        self.asked.set()
        before = len(self.observer.results)
        until(lambda: self.reloader.tend() or len(self.observer.results) > before)
        return self.observer.results[-1]

    @property
    def last(self) -> str:
        return str(self.reloader.status()["last_reload"]["detail"])


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        listening.bind(str(Path(folder) / "notify"))
        listening.settimeout(10)
        yield listening


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Notifier(""))


def test_new_settings_are_taken_over_whole(desk: Desk) -> None:
    assert desk.reloader.status()["last_reload"] is None
    assert desk.reload(GOOD + "deadline_ms = 90\n[log]\nlevel = 'DEBUG'\n") == "ok"
    assert desk.taken == [desk.reloader.settings]
    assert desk.reloader.settings.lines[0].deadline_ms == 90
    assert desk.last == "changed: log.level, lines"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[lines]\n", "is not valid TOML"),
        (GOOD + "deadline = 5\n", "deadline: Extra inputs are not permitted"),
        (GOOD + "[[cameras]]\nname = 'top'\nline = 5\n", "'top' looks at line 5; configured are [4]"),
        ("\N{EM DASH}", "is not valid TOML"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_said_to_be_wrong(
    desk: Desk, caplog: pytest.LogCaptureFixture, text: str, says: str
) -> None:
    before = desk.reloader.settings
    assert desk.reload(text) == "invalid"
    assert says in desk.last
    assert says in caplog.text
    assert (desk.taken, desk.reloader.settings) == ([], before)
    assert desk.reload(GOOD + "deadline_ms = 70\n") == "ok", "the next one is a new chance"


def test_one_setting_that_needs_a_restart_keeps_all_the_others_out(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    url = "postgresql://plant:hush@db/records"
    assert desk.reload(GOOD + f"deadline_ms = 70\n[records]\nurl = '{url}'\n") == "needs_restart"
    assert desk.last == "a restart is needed to change records.url"
    assert "hush" not in caplog.text
    assert desk.taken == []
    assert desk.reloader.settings.lines[0].deadline_ms == 500


def test_a_file_that_is_not_there_or_a_secret_that_cannot_be_read_is_a_bad_reload(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "APRILGAN_RECORDS__URL").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    assert desk.reload(GOOD) == "invalid"
    assert "environment or secrets" in desk.last
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    desk.file.unlink()
    desk.asked.set()
    until(lambda: desk.reloader.tend() or len(desk.observer.results) == 2)
    assert "No such file" in desk.last


def test_a_slow_disk_delays_no_turn_and_a_signal_meanwhile_is_a_reading_of_its_own(tmp_path: Path) -> None:
    reading, go_on, readings = threading.Event(), threading.Event(), []

    def slow() -> Settings:
        reading.set()
        assert go_on.wait(30)
        readings.append(1)
        return load_settings(tmp_path / "aprilgan.toml")

    desk = Desk(tmp_path, Notifier(""), slow)
    desk.asked.set()
    desk.reloader.tend()
    assert reading.wait(30)
    desk.asked.set()
    for _ in range(100):
        desk.reloader.tend()  # would hang here
    assert desk.observer.results == []
    go_on.set()
    until(lambda: desk.reloader.tend() or len(desk.observer.results) == 2)
    assert (desk.observer.results, len(readings)) == (["ok", "ok"], 2)


def test_systemd_hears_reloading_with_a_time_and_then_ready(tmp_path: Path, manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    desk = Desk(tmp_path, notifier)
    assert desk.reload(GOOD) == "ok"  # still starting: nothing is said
    notifier.ready("up")
    assert manager.recv(4096) == b"READY=1\nSTATUS=up"
    assert desk.reload("nonsense") == "invalid"
    first, time = manager.recv(4096).decode().split("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert 0 < int(time) < 2**63
    assert manager.recv(4096).startswith(b"READY=1\nSTATUS=reload: invalid; ")
    notifier.close()


def test_sighup_asks_for_a_reload_and_does_nothing_else() -> None:
    before, stop = signal.getsignal(signal.SIGHUP), StopFlag()
    try:
        asked = flag_on_sighup(stop)
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.wait(10)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


AT_A_TERMINAL = """
import fcntl, os, signal, sys, termios
from daemon.reload import flag_on_sighup
from daemon.stopping import StopFlag
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
stop = StopFlag()
asked = flag_on_sighup(stop)
os.kill(os.getpid(), signal.SIGHUP)
assert asked.wait(10) and not stop.is_set()
os.write(1, b"reads\\n")
sys.exit(7 if stop.wait(30) else 8)
"""


def test_a_terminal_that_goes_away_stops_what_a_person_started_from_it() -> None:
    master, slave = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", AT_A_TERMINAL], stdin=slave, stdout=slave)
    os.close(slave)
    assert os.read(master, 100).startswith(b"reads")
    os.close(master)
    assert child.wait(30) == 7
