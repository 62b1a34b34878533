"""What the loop works beside: SQL, Redis, the disk. Opened and started from the settings, for daemon.service.

Each registers its end with `running`.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial

from daemon.bank_cache import BankCache
from daemon.clock import Clock
from daemon.database import RecordsUnavailable
from daemon.dependencies import DependencyWatch
from daemon.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from daemon.observer import Observer
from daemon.orphan_sweep import OrphanSweep
from daemon.records import Records
from daemon.retention import Retention
from daemon.settings import Settings
from daemon.storekeeper import Storekeeper

log = logging.getLogger(__name__)

EMBEDDED_STOP_S = 1.0


def open_records(settings: Settings, running: ExitStack) -> Records:
    """SQL, whether it answers or not. Raises ConfigurationError."""
    records = Records(settings.records_url)
    running.callback(records.close)
    try:
        records.prepare()
    except RecordsUnavailable as error:
        log.warning("SQL is not there; verdicts wait in the outbox: %s", error)
    return records


def start_dependencies(
    settings: Settings, running: ExitStack, records: Records, *, observer: Observer
) -> DependencyWatch:
    """Redis, our own where the settings say so, and the watch over it and SQL."""
    cache = BankCache(settings.redis_url)
    running.callback(cache.close)
    embedded = (
        EmbeddedRedis(settings.redis_socket, settings.state.dir.resolve() / "redis")
        if settings.redis_embedded
        else None
    )
    if embedded is not None:
        running.callback(partial(embedded.stop, timeout_s=EMBEDDED_STOP_S))
        try:
            embedded.start()
        except EmbeddedRedisError as error:
            log.warning("no Redis; banks come from files: %s", error)
    watch = DependencyWatch(records=records, cache=cache, embedded=embedded, observer=observer)
    watch.start()
    running.callback(partial(watch.stop, timeout_s=1.0))
    return watch


def start_storekeeper(
    settings: Settings, running: ExitStack, records: Records, *, observer: Observer, clock: Clock
) -> Storekeeper:
    """The thread that keeps the state folder from filling up."""
    state = settings.state.dir.resolve()
    keeper = Storekeeper(
        settings,
        state_dir=state,
        retention=Retention(state=state, database=records.database, observer=observer),
        sweep=OrphanSweep(state=state, database=records.database),
        observer=observer,
        clock=clock,
    )
    keeper.start()
    running.callback(partial(keeper.stop, timeout_s=1.0))
    return keeper
