"""The recorder against databases that die, stand still, never speak or are locked: one row a verdict."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon import database, sql_patience
from daemon.database import RecordsUnavailable
from daemon.outbox import Outbox
from daemon.records import Records
from daemon.verdict_queries import VerdictFilter, page
from tests.daemon.patience import until
from tests.daemon.postgres_rig import Postgres
from tests.daemon.test_recorder import Counts, recorder, verdict

HOLDS_THE_LOCK = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "db.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
)


class Plant:
    """An outbox that fills, a recorder that empties it, and the loop's part between them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.records = Records(url)
        self.records.upgrade()
        self.outbox = Outbox(folder / "outbox.db")
        self.counts = Counts()
        self.recorder = recorder(folder, self.records, self.counts)
        self.made = 0
        self.recorder.start()

    def decide(self, count: int) -> None:
        """So many new verdicts, durable in the outbox; never waits for SQL."""
        for number in range(self.made, self.made + count):
            self.outbox.commit(verdicts=[verdict(number)], recorded_up_to=self.recorder.recorded_up_to)
        self.made += count
        self.recorder.wake()

    def until_recorded(self) -> None:
        until(lambda: self.recorder.recorded_up_to == self.made)

    def until_tried(self, times: int = 2) -> None:
        """SQL was found away so often from now on."""
        before = self.counts.failures
        until(lambda: self.counts.failures >= before + times)

    def keys(self) -> list[str]:
        """What SQL has, in order of insertion."""
        return [row.key for row in reversed(page(self.records.database, VerdictFilter(), limit=10_000))]

    def close(self) -> None:
        self.recorder.drain(20)
        self.outbox.close()
        self.records.close()


@pytest.fixture
def plant(tmp_path: Path, postgres: Postgres) -> Iterator[Plant]:
    plant = Plant(tmp_path, postgres.database())
    yield plant
    plant.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_patience.PatientConnection, "patience_s", 0.3)
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_S", 1)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)


def every_key(plant: Plant) -> list[str]:
    return [verdict(number).key for number in range(plant.made)]


def test_a_postgres_that_is_killed_and_started_again_has_each_key_once_and_in_order(
    plant: Plant, postgres: Postgres
) -> None:
    plant.decide(10)
    plant.until_recorded()
    for _ in range(3):
        plant.decide(20)  # some are on their way while it dies
        with postgres.killed():
            plant.decide(20)
            plant.until_tried()
            assert not plant.recorder.connected
        plant.until_recorded()
    assert plant.recorder.connected
    assert plant.keys() == every_key(plant)


def test_a_postgres_that_stands_still_is_given_up_and_each_key_comes_once_when_it_goes_on(
    plant: Plant, postgres: Postgres
) -> None:
    plant.decide(10)
    plant.until_recorded()
    plant.decide(20)
    with postgres.frozen():
        plant.decide(20)
        turns = plant.recorder.turns
        plant.until_tried()
        assert plant.recorder.turns > turns
        assert not plant.recorder.drain(0)  # asked to end meanwhile, it does not hang
        until(lambda: not plant.recorder.alive)
    successor = recorder(plant.folder, plant.records)
    successor.start()
    until(lambda: successor.recorded_up_to == plant.made)
    assert successor.drain(20)
    assert plant.keys() == every_key(plant)


def test_a_server_that_accepts_and_never_speaks_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        records = Records(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/db")
        with pytest.raises(RecordsUnavailable, match="timeout"):
            records.insert_inspections([verdict(1)])
        records.close()


def test_a_migration_may_take_longer_than_an_answer(postgres: Postgres) -> None:
    url = postgres.database()
    records, holder = Records(url), Records(url)
    records.upgrade()
    released = threading.Event()

    def hold() -> None:
        with holder.database.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE inspections")
            held.set()
            released.wait(20)

    held = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    threading.Timer(1.0, released.set).start()  # three times the patience
    records.downgrade("base")
    thread.join()
    assert records.schema_state().current is None
    records.close()
    holder.close()


def test_a_sqlite_file_locked_by_another_process_is_waited_for_and_gets_each_key_once(tmp_path: Path) -> None:
    plant = Plant(tmp_path, f"sqlite:///{tmp_path / 'records.db'}")
    plant.decide(10)
    plant.until_recorded()
    with locked(tmp_path / "records.db"):
        plant.decide(20)
        plant.until_tried()
        assert plant.recorder.recorded_up_to == 10
    plant.until_recorded()
    assert plant.keys() == every_key(plant)
    plant.close()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process holds the write lock of an SQLite file."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        holder.communicate()
