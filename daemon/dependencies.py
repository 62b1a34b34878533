"""A thread that looks after what the service can do without: SQL, Redis, and the embedded server's process.

Nothing here stops work. What it finds goes to the metrics and to readiness; a dead embedded server is
started again. It exists so that no other thread ever waits for a dependency only to know how it is.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

from daemon.bank_cache import CacheUnavailable
from daemon.database import RecordsUnavailable, SchemaState
from daemon.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from daemon.observer import Observer

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0


class SchemaSource(Protocol):
    """What is needed of daemon.records.Records."""

    def prepare(self) -> None: ...

    def schema_state(self) -> SchemaState: ...

    def change_counts(self) -> dict[tuple[int, str], int]: ...


class Pinged(Protocol):
    """What is needed of daemon.bank_cache.BankCache."""

    def ping(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What was seen last. schema: why SQL's tables cannot be used, None when they can or nobody knows."""

    db_up: bool = False
    redis_up: bool = False
    schema: str | None = "SQL has not been looked at yet"


class DependencyWatch(threading.Thread):
    """Looks every `every_s` seconds. `start`, then `seen` from any thread; `stop` ends it."""

    def __init__(
        self,
        *,
        records: SchemaSource,
        cache: Pinged,
        embedded: EmbeddedRedis | None,
        observer: Observer,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__(name="dependencies", daemon=True)
        self._records = records
        self._cache = cache
        self._embedded = embedded
        self._observer = observer
        self._every_s = every_s
        self._ended = threading.Event()
        self._changes: dict[tuple[int, str], int] | None = None
        self.seen = Dependencies()

    def run(self) -> None:
        """Look until stopped."""
        while not self._ended.is_set():
            self.look()
            self._ended.wait(self._every_s)

    def look(self) -> None:
        """One look."""
        self._revive()
        db_up, schema = self._look_at_sql()
        self._note(Dependencies(db_up=db_up, redis_up=self._look_at_redis(), schema=schema))

    def stop(self, timeout_s: float) -> None:
        """End the thread; one that waits for a hanging database is left behind."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout_s)

    def _revive(self) -> None:
        if self._embedded is None or self._embedded.alive:
            return
        try:
            self._embedded.start()
        except (EmbeddedRedisError, OSError) as error:
            self._observer.dependency_error("redis")
            log.warning("the embedded Redis-compatible server is down; banks come from files: %s", error)

    def _look_at_sql(self) -> tuple[bool, str | None]:
        try:
            self._records.prepare()
            state = self._records.schema_state()
            if state.ok:
                self._count_changes()
        except RecordsUnavailable as error:
            self._observer.dependency_error("db")
            # down is degraded; whether the tables fit is unknown then, so the last knowledge stands
            never_seen = self.seen == Dependencies()
            if self.seen.db_up or never_seen:
                log.warning("SQL does not answer; verdicts wait in the outbox: %s", error)
            return False, None if never_seen else self.seen.schema
        if state.ok:
            return True, None
        return True, (
            f"the database is at revision {state.current or 'none'}, expected {state.head}: "
            f"run `aprilgan-admin db upgrade`"
        )

    def _count_changes(self) -> None:
        """Tell what the audit grew by since the first look: changes of an earlier life are not this one's."""
        counts = self._records.change_counts()
        before = counts if self._changes is None else self._changes
        self._changes = counts
        for (line, action), count in counts.items():
            grown = count - before.get((line, action), 0)
            if grown > 0:
                self._observer.line_changed(line, action, grown)

    def _look_at_redis(self) -> bool:
        try:
            return self._cache.ping()
        except CacheUnavailable:
            self._observer.dependency_error("redis")
            return False

    def _note(self, now: Dependencies) -> None:
        if now.redis_up != self.seen.redis_up:
            log.info("Redis %s", "answers" if now.redis_up else "does not answer; banks come from files")
        self._observer.dependency("db", up=now.db_up)
        self._observer.dependency("redis", up=now.redis_up)
        self.seen = now
