"""`verdicts --watch`: verdicts as they come, until Ctrl-C; over restarts of the daemon and of the database.

Two sources, one list of keys seen: the publish socket is immediate but may miss some, SQL has every verdict but a
little later. So whichever brings a verdict first shows it, and what the one loses the other brings.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from daemon import verdict_queries
from daemon.admin.output import remark
from daemon.database import Database, RecordsUnavailable
from daemon.verdict_queries import VerdictFilter
from daemon.verdict_stream import Link, VerdictStream

POLL_S = 1.0
"""How often SQL is asked for what the stream missed."""
RETRY_S = 5.0
"""How long a database that did not answer is left alone."""
PATIENCE_S = 2.0
"""How long nobody has to answer before a person is told."""
PAGE = 1000
OVERLAP = 200
"""Ids that are looked at again: daemons that share a database commit a little out of order."""
REMEMBERED = 20_000

Show = Callable[[dict[str, Any]], None]


class Seen:
    """The keys of the last verdicts."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def is_new(self, key: str) -> bool:
        """Whether the key comes for the first time; it is remembered from now on."""
        new = key not in self._keys
        self._keys[key] = None
        if len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)
        return new


class Backfill:
    """Asks SQL for what came since the last look, and leaves it alone for a while when it does not answer.

    seen: what was there before the watch began is noted here, so that looking at some ids again shows it never.
    """

    def __init__(self, database: Database, wanted: VerdictFilter, seen: Seen) -> None:
        self._database = database
        self._wanted = wanted
        self._seen = seen
        self._last_id: int | None = None
        self._next_s = 0.0
        self._failing = False

    def start(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` verdicts there are, oldest first."""
        return self._guarded(lambda: self._newest(limit))

    def due(self, now_s: float) -> list[dict[str, Any]]:
        """What came since, if it is time to ask. now_s: monotonic."""
        if now_s < self._next_s:
            return []
        found = self._guarded(self._since)
        self._next_s = now_s + (RETRY_S if self._failing else POLL_S)
        return found

    def _newest(self, limit: int) -> list[dict[str, Any]]:
        self._begin()
        verdicts = verdict_queries.page(self._database, self._wanted, limit=limit)
        return [verdict.public() for verdict in reversed(verdicts)]

    def _begin(self) -> None:
        """The watch begins behind the newest row."""
        last_id = verdict_queries.last_id(self._database)
        before = max(0, last_id - OVERLAP)
        for verdict in verdict_queries.arrived_since(self._database, before, limit=OVERLAP).verdicts:
            self._seen.is_new(verdict.key)
        self._last_id = last_id

    def _since(self) -> list[dict[str, Any]]:
        if self._last_id is None:  # SQL did not answer at the start
            self._begin()
            return []
        found: list[dict[str, Any]] = []
        row_id = max(0, self._last_id - OVERLAP)
        while (came := verdict_queries.arrived_since(self._database, row_id, limit=PAGE)).verdicts:
            found += [verdict.public() for verdict in came.verdicts]
            row_id = came.last_id
        self._last_id = max(self._last_id, row_id)
        return found

    def _guarded(self, ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        try:
            found = ask()
        except RecordsUnavailable as error:
            if not self._failing:
                remark(f"SQL does not answer, so only what is published now is shown: {error}")
            self._failing = True
            return []
        if self._failing:
            remark("SQL answers again.")
        self._failing = False
        return found


class Announcer:
    """Says once when the daemon comes, goes, or does not let us in."""

    def __init__(self, endpoint: str, started_s: float) -> None:
        self._endpoint = endpoint
        self._said: Link | None = None
        self._since_s = started_s

    def note(self, link: Link, now_s: float) -> None:
        """link: as it is at `now_s`. A daemon that is away for less than PATIENCE_S is not worth a word."""
        if link is self._said:
            self._since_s = now_s
        elif link is Link.UP:
            if self._said is not None:
                remark("The daemon is there.")
            self._said, self._since_s = link, now_s
        elif now_s - self._since_s >= PATIENCE_S:
            self._said = link
            remark(self._sentence(link))

    def _sentence(self, link: Link) -> str:
        if link is Link.REFUSED:
            return (
                f"The daemon at {self._endpoint} does not let this key in, verdicts come from SQL alone: "
                "authorize it with `aprilgan-admin keys authorize NAME FILE --subscriber`"
            )
        return f"No daemon answers at {self._endpoint}; waiting for it. Ctrl-C ends."


def watch(
    database: Database,
    wanted: VerdictFilter,
    open_stream: Callable[[], VerdictStream] | None,
    *,
    endpoint: str,
    limit: int,
    show: Show,
    stopped: Callable[[], bool],
) -> None:
    """Show verdicts until `stopped`.

    open_stream: None watches SQL alone. limit: how many of those that are there already are shown first.
    """
    seen = Seen()
    backfill = Backfill(database, wanted, seen)
    announcer = Announcer(endpoint, time.monotonic())
    with ExitStack() as stack:
        # before the first look at SQL: what is decided in between comes by the stream
        stream = None if open_stream is None else stack.enter_context(open_stream())
        for verdict in backfill.start(limit):
            seen.is_new(verdict["key"])
            show(verdict)
        while not stopped():
            came = _wait(stream)
            if stream is not None:
                announcer.note(stream.link, time.monotonic())
            for verdict in _new([*came, *backfill.due(time.monotonic())], seen, wanted):
                show(verdict)


def _wait(stream: VerdictStream | None) -> list[dict[str, Any]]:
    if stream is not None:
        return stream.receive(POLL_S / 4)
    time.sleep(POLL_S / 4)
    return []


def _new(verdicts: Iterable[dict[str, Any]], seen: Seen, wanted: VerdictFilter) -> list[dict[str, Any]]:
    """Those that were not shown yet and are wanted, in the order they came."""
    return [
        verdict
        for verdict in verdicts
        if seen.is_new(verdict["key"])
        and wanted.line in (None, verdict.get("line"))
        and wanted.decision in (None, verdict.get("decision"))
    ]
