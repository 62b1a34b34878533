"""What the service can do without: watched by a thread that stops nothing."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.bank_cache import BankCache, CacheUnavailable
from daemon.database import RecordsUnavailable, SchemaState
from daemon.dependencies import Dependencies, DependencyWatch
from daemon.embedded_redis import EmbeddedRedis
from daemon.observer import Observer
from daemon.records import Records


class Seen(Observer):
    """Remembers what was said of each dependency."""

    def __init__(self) -> None:
        self.up: dict[str, bool] = {}
        self.errors: list[str] = []
        self.changes: Counter[tuple[int, str]] = Counter()

    def line_changed(self, line: int, action: str, count: int) -> None:
        self.changes[line, action] += count

    def dependency(self, name: str, *, up: bool) -> None:
        self.up[name] = up

    def dependency_error(self, name: str) -> None:
        self.errors.append(name)


class Sql:
    """An SQL side that answers as it is told to."""

    def __init__(self) -> None:
        self.answer: SchemaState | None = SchemaState(current="0001", head="0001")
        self.changes: dict[tuple[int, str], int] = {}

    def prepare(self) -> None:
        pass

    def schema_state(self) -> SchemaState:
        if self.answer is None:
            raise RecordsUnavailable("gone")
        return self.answer

    def change_counts(self) -> dict[tuple[int, str], int]:
        return dict(self.changes)


class Redis:
    """A Redis side that answers as it is told to."""

    def __init__(self) -> None:
        self.up = True

    def ping(self) -> bool:
        if not self.up:
            raise CacheUnavailable("gone")
        return True


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder:
        yield Path(folder)


def soon(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        time.sleep(0.01)


def test_what_is_down_is_seen_counted_and_forgotten_when_it_is_back() -> None:
    sql, redis, seen = Sql(), Redis(), Seen()
    watch = DependencyWatch(records=sql, cache=redis, embedded=None, observer=seen)
    watch.look()
    assert watch.seen == Dependencies(db_up=True, redis_up=True, schema=None)
    sql.answer, redis.up = None, False
    watch.look()
    assert seen.up == {"db": False, "redis": False}
    assert sorted(seen.errors) == ["db", "redis"]
    sql.answer, redis.up = SchemaState(current="0001", head="0001"), True
    watch.look()
    assert seen.up == {"db": True, "redis": True}


def test_tables_of_another_revision_are_named_with_the_command_that_mends_them() -> None:
    sql = Sql()
    sql.answer = SchemaState(current="0001", head="0002")
    watch = DependencyWatch(records=sql, cache=Redis(), embedded=None, observer=Observer())
    watch.look()
    assert watch.seen.schema is not None
    assert "0001, expected 0002" in watch.seen.schema
    assert "db upgrade" in watch.seen.schema


def test_sql_going_down_is_degraded_and_keeps_what_was_known_of_its_tables() -> None:
    sql = Sql()
    watch = DependencyWatch(records=sql, cache=Redis(), embedded=None, observer=Observer())
    sql.answer = None
    watch.look()
    assert watch.seen.schema is None
    sql.answer = SchemaState(current=None, head="0002")
    watch.look()
    known = watch.seen.schema
    sql.answer = None
    watch.look()
    assert watch.seen.schema == known is not None


def test_changes_of_a_line_are_told_once_and_those_of_an_earlier_life_never() -> None:
    sql, seen = Sql(), Seen()
    sql.changes = {(4, "enroll"): 3}
    watch = DependencyWatch(records=sql, cache=Redis(), embedded=None, observer=seen)
    watch.look()
    sql.changes = {(4, "enroll"): 4, (4, "threshold"): 1}
    watch.look()
    sql.answer = None
    watch.look()
    sql.answer = SchemaState(current="0001", head="0001")
    sql.changes[5, "rollback"] = 2
    watch.look()
    assert seen.changes == {(4, "enroll"): 1, (4, "threshold"): 1, (5, "rollback"): 2}


def test_a_dead_embedded_server_is_started_again_and_a_real_database_is_at_head(folder: Path) -> None:
    embedded = EmbeddedRedis(folder / "r.sock", folder / "redis")
    records, cache = Records(f"sqlite:///{folder / 'records.db'}"), BankCache(embedded.url)
    watch = DependencyWatch(records=records, cache=cache, embedded=embedded, observer=Observer(), every_s=0.05)
    embedded.start()
    watch.start()
    try:
        soon(lambda: watch.seen == Dependencies(db_up=True, redis_up=True, schema=None))
        first = embedded.pid
        embedded.stop()
        soon(lambda: embedded.alive and watch.seen.redis_up and embedded.pid != first)
    finally:
        watch.stop(5)
        embedded.stop()
        cache.close()
        records.close()
    assert not watch.is_alive()
