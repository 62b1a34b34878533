"""From the outbox into SQL: in order, each key once, with SQL away or back, and the mark handed back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.database import RecordsUnavailable
from daemon.flow import Frame, Identity, UninspectedReason, Verdict
from daemon.observer import Observer
from daemon.outbox import Outbox
from daemon.recorder import Circuit, InspectionWriter, Recorder, RecorderOptions
from daemon.records import Records
from daemon.verdicts import Provenance, uninspected

AT = datetime(2026, 1, 2, tzinfo=UTC)
QUICK = RecorderOptions(
    batch_rows=3, batch_pause_s=0.001, idle_pause_s=0.01, first_retry_s=0.001, longest_retry_s=0.01
)


def verdict(number: int) -> Verdict:
    frame = Frame(
        key=f"cam1:b1:{number}",
        identity=Identity(camera="cam1", line=4, seq=number),
        sha256="ab" * 32,
        received_at=AT,
        received_ns=0,
        deadline_ns=0,
    )
    by = Provenance(software_version="0", host="test")
    return uninspected(frame, UninspectedReason.DEADLINE, at=AT, total_ms=1, by=by)


class Counts(Observer):
    """Sums of what the recorder reports; it calls from its own thread."""

    def __init__(self) -> None:
        self.inserted = self.ignored = self.failures = 0

    def rows_written(self, *, inserted: int, ignored: int) -> None:
        self.inserted += inserted
        self.ignored += ignored

    def dependency_error(self, name: str) -> None:
        self.failures += 1


class Flaky:
    """A database that is away until `back` is set, and that keeps what it is told after that."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.rows: list[str] = []

    def insert_inspections(self, verdicts: Sequence[Verdict]) -> int:
        if not self.back.is_set():
            raise RecordsUnavailable("no connection")
        self.rows += [row.key for row in verdicts]
        return len(verdicts)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db")
    yield journal
    journal.close()


def recorder(tmp_path: Path, records: InspectionWriter, observer: Observer | None = None) -> Recorder:
    return Recorder(outbox=tmp_path / "outbox.db", records=records, observer=observer or Observer(), options=QUICK)


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up
        pause.wait(0.002)


def test_every_verdict_becomes_one_row_and_a_second_life_inserts_none_again(
    outbox: Outbox, tmp_path: Path, records_url: str
) -> None:
    records = Records(records_url)
    records.upgrade()
    outbox.commit(verdicts=[verdict(number) for number in range(10)])
    first, counts = recorder(tmp_path, records), Counts()
    first.start()
    assert first.drain(20)
    assert first.recorded_up_to == 10
    # the mark was not committed: killed in between, the next life reads all of them again
    second = recorder(tmp_path, records, counts)
    second.start()
    assert second.drain(20)
    assert (counts.inserted, counts.ignored) == (0, 10)
    records.close()


def test_news_are_written_and_the_mark_follows(outbox: Outbox, tmp_path: Path) -> None:
    database = Flaky()
    database.back.set()
    thread = recorder(tmp_path, database)
    thread.start()
    for number in range(5):
        outbox.commit(verdicts=[verdict(number)])
        thread.wake()
    until(lambda: thread.recorded_up_to == 5)
    outbox.commit(recorded_up_to=thread.recorded_up_to)
    assert thread.drain(20)
    assert outbox.unrecorded == 0
    assert database.rows == [f"cam1:b1:{number}" for number in range(5)]


def test_with_sql_away_the_verdicts_wait_and_come_in_order_once_it_is_back(outbox: Outbox, tmp_path: Path) -> None:
    database, counts = Flaky(), Counts()
    thread = recorder(tmp_path, database, counts)
    outbox.commit(verdicts=[verdict(number) for number in range(7)])
    thread.start()
    until(lambda: counts.failures >= 3)
    assert (thread.recorded_up_to, thread.connected, thread.alive) == (0, False, True)
    database.back.set()
    until(lambda: thread.recorded_up_to == 7)
    assert database.rows == [f"cam1:b1:{number}" for number in range(7)]
    assert thread.connected
    assert thread.drain(20)


def test_a_drain_does_not_wait_for_sql_that_is_away(outbox: Outbox, tmp_path: Path) -> None:
    outbox.commit(verdicts=[verdict(1)])
    thread = recorder(tmp_path, Flaky())
    thread.start()
    assert not thread.drain(20)
    assert not thread.alive
    assert thread.recorded_up_to == 0


def test_a_recorder_begins_where_the_mark_stands(outbox: Outbox, tmp_path: Path) -> None:
    outbox.commit(verdicts=[verdict(number) for number in range(4)])
    outbox.commit(recorded_up_to=3)
    database = Flaky()
    database.back.set()
    thread = recorder(tmp_path, database)
    thread.start()
    assert thread.drain(20)
    assert database.rows == ["cam1:b1:3"]


@given(st.integers(1, 2000))
def test_pauses_double_up_to_a_limit_and_start_over(failures: int) -> None:
    circuit = Circuit(first_s=0.5, longest_s=30)
    pauses = []
    for _ in range(failures):
        circuit.failed()
        pauses.append(circuit.pause_s)
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert max(pauses) <= 30
    circuit.worked()
    assert (circuit.is_open, circuit.pause_s) == (False, 0)
