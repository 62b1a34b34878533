"""`verdicts --watch` over real sockets and a real database: each verdict once, over restarts, until Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import zmq

from core.decide import Decision
from daemon import publisher as publishing
from daemon import verdict_stream
from daemon.admin import watch as watching
from daemon.admin.watch import watch
from daemon.admin.watching import row
from daemon.authorized_keys import KeyRing, Role, authorize, authorized_file, change_authorized, keys_folder
from daemon.curve import Guard, ZapHandler
from daemon.database import RecordsUnavailable
from daemon.flow import Verdict
from daemon.key_files import new_pair, write_pair
from daemon.native_sender import CurveKeys
from daemon.observer import Observer
from daemon.publisher import VerdictPublisher
from daemon.records import Records
from daemon.verdict_queries import VerdictFilter
from daemon.verdict_stream import Link, VerdictStream, local_endpoint
from tests.daemon.patience import until
from tests.daemon.test_authorized_keys import entry
from tests.daemon.test_records import a_verdict


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a Unix socket's path."""
    with tempfile.TemporaryDirectory(prefix="ag-") as name:
        yield Path(name)


@pytest.fixture
def records(folder: Path) -> Iterator[Records]:
    records = Records(f"sqlite:///{folder / 'state' / 'records.db'}")
    records.prepare()
    yield records
    records.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_S", 0.05)
    monkeypatch.setattr(watching, "PATIENCE_S", 0.0)
    monkeypatch.setattr(watching, "RETRY_S", 0.05)
    for options in (publishing._OPTIONS, verdict_stream._OPTIONS):
        monkeypatch.setitem(options, zmq.HANDSHAKE_IVL, 300)


@contextmanager
def watched(
    records: Records,
    stream: Callable[[], VerdictStream] | None,
    wanted: VerdictFilter | None = None,
    limit: int = 10,
) -> Iterator[list[str]]:
    """The keys that a watch has shown so far."""
    shown: list[str] = []
    ended = threading.Event()
    thread = threading.Thread(
        target=watch,
        args=(records.database, wanted or VerdictFilter(), stream),
        kwargs={
            "endpoint": "here",
            "limit": limit,
            "show": lambda verdict: shown.append(verdict["key"]),
            "stopped": ended.is_set,
        },
    )
    thread.start()
    try:
        yield shown
    finally:
        ended.set()
        thread.join()


def test_what_is_there_is_shown_first_and_each_new_verdict_once_whoever_brings_it(
    records: Records, context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    endpoint = f"ipc://{folder}/publish.sock"
    publisher = VerdictPublisher(context, endpoint)
    records.insert_inspections([a_verdict(f"old{number}") for number in range(5)])
    with watched(records, lambda: VerdictStream(context, endpoint), limit=2) as shown:
        until(lambda: len(shown) == 2)
        both, streamed, stored = a_verdict("both"), a_verdict("streamed"), a_verdict("stored")
        publish_until_heard(publisher, both, shown)
        records.insert_inspections([both, stored])
        publish_until_heard(publisher, streamed, shown)
        until(lambda: "stored" in shown)
        publisher.publish(both)
        publish_until_heard(publisher, a_verdict("last"), shown)
    assert sorted(shown) == ["both", "last", "old3", "old4", "stored", "streamed"]
    assert shown[:2] == ["old3", "old4"]
    publisher.close()


def publish_until_heard(publisher: VerdictPublisher, verdict: Verdict, shown: list[str]) -> None:
    """A subscription takes a moment to arrive, and what was published before it is gone."""

    def heard() -> bool:
        publisher.publish(verdict)
        return verdict.key in shown

    until(heard)


def test_only_the_wanted_line_and_decision_are_shown(
    records: Records, context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    endpoint = f"ipc://{folder}/publish.sock"
    publisher = VerdictPublisher(context, endpoint)
    wanted = VerdictFilter(line=4, decision=Decision.REJECT)
    with watched(records, partial(VerdictStream, context, endpoint, line=4), wanted) as shown:
        records.insert_inspections([a_verdict("other line", line=44), a_verdict("good", decision=Decision.ACCEPT)])
        publisher.publish(a_verdict("good too", decision=Decision.ACCEPT))
        publish_until_heard(publisher, a_verdict("bad"), shown)
        records.insert_inspections([a_verdict("bad too")])
        until(lambda: "bad too" in shown)
    assert shown == ["bad", "bad too"]
    publisher.close()


def test_a_watch_outlives_the_daemon_and_a_person_is_told(
    records: Records,
    context: zmq.Context[zmq.Socket[bytes]],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Transcript(capsys)
    endpoint = f"ipc://{folder}/publish.sock"
    with watched(records, lambda: VerdictStream(context, endpoint)) as shown:
        until(lambda: said.count("No daemon answers at here") == 1)
        for life in ("first", "second"):
            publisher = VerdictPublisher(context, endpoint)
            publish_until_heard(publisher, a_verdict(life), shown)
            publisher.close()
            lives = {"first": 1, "second": 2}[life]
            until(lambda lives=lives: said.count("The daemon is there.") == lives)
            until(lambda lives=lives: said.count("No daemon answers") == lives + 1)
    assert shown == ["first", "second"]


class Transcript:
    """All that was said on standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def count(self, words: str) -> int:
        self._text += self._capsys.readouterr().err
        return self._text.count(words)


def test_a_database_that_does_not_answer_stops_nothing_and_is_asked_again(
    records: Records,
    context: zmq.Context[zmq.Socket[bytes]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Transcript(capsys)
    down = threading.Event()
    begin = records.database.begin

    def failing() -> Any:
        if down.is_set():
            raise RecordsUnavailable("down for a test")
        return begin()

    monkeypatch.setattr(records.database, "begin", failing)
    down.set()
    endpoint = f"ipc://{folder}/publish.sock"
    publisher = VerdictPublisher(context, endpoint)
    with watched(records, lambda: VerdictStream(context, endpoint)) as shown:
        publish_until_heard(publisher, a_verdict("meanwhile"), shown)
        assert said.count("SQL does not answer") == 1
        down.clear()
        until(lambda: said.count("SQL answers again") == 1)
        records.insert_inspections([a_verdict("after")])
        until(lambda: "after" in shown)
    publisher.close()


def test_rows_that_another_daemon_commits_late_are_shown_too(records: Records) -> None:
    records.insert_inspections([a_verdict("one"), a_verdict("two")])
    with records.database.begin() as connection:  # as if "two" had its id, and were not committed yet
        connection.exec_driver_sql("UPDATE inspections SET id = 9 WHERE key = 'two'")
    with watched(records, None) as shown:
        until(lambda: len(shown) == 2)
        with records.database.begin() as connection:
            connection.exec_driver_sql("UPDATE inspections SET key = 'late' WHERE key = 'one'")
        until(lambda: "late" in shown)
    assert sorted(shown) == ["late", "one", "two"]


def test_with_curve_a_subscribers_key_hears_and_any_other_is_told_why_not(
    context: zmq.Context[zmq.Socket[bytes]], folder: Path
) -> None:
    server, mine, strange = new_pair(), new_pair(), new_pair()
    path = authorized_file(folder)
    change_authorized(path, partial(authorize, entry=entry("wall", role=Role.SUBSCRIBER, public_key=mine.public)))
    guard = Guard(server, KeyRing(path))
    zap = ZapHandler(context, guard.ring, observer=Observer())
    zap.start()
    endpoint = f"ipc://{folder}/publish.sock"
    publisher = VerdictPublisher(context, endpoint, guard=guard)
    heard: list[dict[str, Any]] = []
    with (
        VerdictStream(context, endpoint, curve=keys_of(server, mine)) as stream,
        VerdictStream(context, endpoint, curve=keys_of(server, strange)) as refused,
        VerdictStream(context, endpoint) as plain,
    ):

        def first() -> bool:
            publisher.publish(a_verdict("secret"))
            heard.extend(stream.receive(0.02))
            return bool(heard)

        until(first)
        assert stream.link is Link.UP
        assert heard[0]["key"] == "secret"
        for other in (refused, plain):
            until(lambda other=other: other.receive(0.05) == [] and other.link is Link.REFUSED)
    publisher.close()
    zap.stop()


def keys_of(server: Any, pair: Any) -> Any:
    return CurveKeys(server=server.public.encode(), public=pair.public.encode(), secret=pair.secret.encode())


@pytest.mark.parametrize(
    ("bind", "connect"),
    [
        ("tcp://*:5556", "tcp://127.0.0.1:5556"),
        ("tcp://0.0.0.0:5556", "tcp://127.0.0.1:5556"),
        ("tcp://[::]:5556", "tcp://127.0.0.1:5556"),
        ("tcp://10.0.0.7:5556", "tcp://10.0.0.7:5556"),
        ("ipc:///run/x.sock", "ipc:///run/x.sock"),
    ],
)
def test_what_is_bound_to_every_interface_is_reached_over_loopback(bind: str, connect: str) -> None:
    assert local_endpoint(bind) == connect


def test_a_line_for_a_person_shows_what_there_is(records: Records) -> None:
    shown = row(a_verdict("one").public()).plain
    assert "reject" in shown
    assert "4.25" in shown
    assert "A1" in shown
    bare = row({"v": 1, "key": "k", "decision": "uninspected", "reason": "deadline"}).plain
    assert "uninspected" in bare
    assert "deadline" in bare


SETTINGS = """
[state]
dir = "{folder}/state"
[publish]
bind = "ipc://{folder}/publish.sock"
[ingest]
bind = "ipc://{folder}/ingest.sock"
security = "{security}"
[[lines]]
id = 4
"""


def start(folder: Path, *options: str, security: str = "none", **streams: Any) -> subprocess.Popen[str]:
    config = folder / "aprilgan.toml"
    config.write_text(SETTINGS.format(folder=folder, security=security))
    command = [sys.executable, "-m", "daemon.admin", "--config", str(config), "verdicts", "--watch", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command, text=True, bufsize=1, **pipes)


def lines_of(stream: Any) -> Queue[str]:
    """What a process says, line by line, as it says it."""
    said: Queue[str] = Queue()

    def read() -> None:
        for line in stream:
            said.put(line)

    threading.Thread(target=read, daemon=True).start()
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_a_line_of_json_each_and_ends_cleanly_when_it_is_told(
    records: Records, context: zmq.Context[zmq.Socket[bytes]], folder: Path, number: signal.Signals
) -> None:
    records.insert_inspections([a_verdict("old")])
    with start(folder, "--json") as process:
        said = lines_of(process.stdout)
        assert json.loads(said.get(timeout=60))["key"] == "old"
        records.insert_inspections([replace(a_verdict("new"), part="größe")])
        fields = json.loads(said.get(timeout=60))
        assert (fields["v"], fields["key"], fields["part"]) == (1, "new", "größe")
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_on_a_terminal_there_are_counts_and_a_reader_that_leaves_is_no_error(
    records: Records, folder: Path
) -> None:
    records.insert_inspections([a_verdict("old"), a_verdict("older", decision=Decision.ACCEPT)])
    ours, theirs = pty.openpty()
    with start(folder, stdout=theirs) as process:
        os.close(theirs)
        text = ""

        def counted() -> bool:
            nonlocal text
            text += os.read(ours, 65536).decode()
            return "1 accept" in text and "1 reject" in text

        until(counted)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    os.close(ours)
    with start(folder, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        records.insert_inspections([a_verdict("nobody reads this")])
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_keys_are_asked_for_in_words(folder: Path, records: Records) -> None:
    write_pair(folder, "wall", new_pair())
    with start(folder, "--key", str(folder / "wall.key_secret")) as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert "asks for no key" in process.stderr.read()
    with start(folder, "--key", str(folder / "wall.key_secret"), security="curve") as process:
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert str(keys_folder(folder / "state")) in process.stderr.read()
    with start(folder, security="curve") as process:
        said = lines_of(process.stderr)
        assert "verdicts come from SQL" in said.get(timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
