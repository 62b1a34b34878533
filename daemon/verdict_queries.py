"""Reading verdicts back: by key, by pages in the order of time, and as they arrive. Each by an index, at any size.

Pages are keyset pages: the next one begins where the last ended, by `(decided_at, id)`, so that page 1,000 costs
what page 1 does and rows that come in between shift nothing. Every statement reads at most `limit` rows of an
index for each decision; only `line` with `decision` may pass over rows of the one to find those of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from core.decide import Decision
from daemon import schema
from daemon.database import Database
from daemon.flow import Verdict
from daemon.record_rows import verdict_from

_COLUMNS = schema.inspections.c


class Side(StrEnum):
    """Which way a page lies from a place."""

    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a verdict stands in the order of the list; equal times are told apart by the row's id."""

    decided_at: datetime
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictFilter:
    """Which verdicts are meant: None lets all through. since <= decided_at < until."""

    line: int | None = None
    decision: Decision | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Verdicts in the order SQL got them, and the id of the last row that was looked at."""

    verdicts: tuple[Verdict, ...]
    last_id: int


def find(database: Database, key: str) -> Verdict | None:
    """The verdict of that key, or None. Raises RecordsUnavailable, as every function here."""
    rows = _rows(database, sa.select(schema.inspections).where(_COLUMNS.key == key))
    return verdict_from(rows[0]) if rows else None


def place_of(database: Database, key: str) -> Place | None:
    """Where the verdict of that key stands, None where there is none."""
    rows = _rows(database, sa.select(_COLUMNS.decided_at, _COLUMNS.id).where(_COLUMNS.key == key))
    return Place(**rows[0]) if rows else None


def page(
    database: Database, wanted: VerdictFilter, *, limit: int, side: Side = Side.OLDER, place: Place | None = None
) -> list[Verdict]:
    """At most `limit` verdicts next to `place` on its older or newer side, newest first.

    place: None stands beyond the newest for OLDER and before the oldest for NEWER.
    """
    found = [verdict_from(row) for row in _rows(database, page_query(wanted, limit=limit, side=side, place=place))]
    return found if side is Side.OLDER else found[::-1]


def page_query(
    wanted: VerdictFilter, *, limit: int, side: Side = Side.OLDER, place: Place | None = None
) -> sa.Select[Any]:
    """The statement of `page`, in the order away from `place`.

    Both indexes begin with a column of the filter. Without line and decision the pages of the four decisions
    are merged: four short walks through an index where a third index would cost every insert.
    """
    if wanted.line is not None or wanted.decision is not None:
        return _walk(wanted, (), limit, side, place)
    walks = [_walk(wanted, (_COLUMNS.decision == each.value,), limit, side, place) for each in Decision]
    merged = sa.union_all(*(sa.select(walk.subquery()) for walk in walks)).subquery()
    return sa.select(merged).order_by(*_order(merged.c, side)).limit(limit)


def last_id(database: Database) -> int:
    """The id of the newest row, 0 without rows."""
    return int(_rows(database, sa.select(sa.func.coalesce(sa.func.max(_COLUMNS.id), 0).label("id")))[0]["id"])


def arrived_since(database: Database, row_id: int, *, limit: int) -> Arrivals:
    """What SQL got after the row of that id: at most `limit` verdicts of all lines, by the primary key.

    Several daemons that write to one database may commit their rows in another order than their ids have.
    """
    query = sa.select(schema.inspections).where(_COLUMNS.id > row_id).order_by(_COLUMNS.id).limit(limit)
    rows = _rows(database, query)
    return Arrivals(
        verdicts=tuple(verdict_from(row) for row in rows),
        last_id=rows[-1]["id"] if rows else row_id,
    )


def _walk(
    wanted: VerdictFilter, only: Sequence[sa.ColumnElement[bool]], limit: int, side: Side, place: Place | None
) -> sa.Select[Any]:
    """One walk along an index, from `place` outwards."""
    query = sa.select(schema.inspections).where(*only).order_by(*_order(_COLUMNS, side)).limit(limit)
    if wanted.line is not None:
        query = query.where(_COLUMNS.line == wanted.line)
    if wanted.decision is not None:
        query = query.where(_COLUMNS.decision == wanted.decision.value)
    if wanted.since is not None:
        query = query.where(_COLUMNS.decided_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_COLUMNS.decided_at < wanted.until)
    return query if place is None else query.where(_beyond(place, side))


def _beyond(place: Place, side: Side) -> sa.ColumnElement[bool]:
    """`(decided_at, id) < place`, worded so that every database finds the bound of its index in it."""
    at, row_id = _COLUMNS.decided_at, _COLUMNS.id
    if side is Side.OLDER:
        return (at <= place.decided_at) & ((at < place.decided_at) | (row_id < place.id))
    return (at >= place.decided_at) & ((at > place.decided_at) | (row_id > place.id))


def _order(columns: Any, side: Side) -> tuple[sa.ColumnElement[Any], ...]:
    if side is Side.OLDER:
        return columns.decided_at.desc(), columns.id.desc()
    return columns.decided_at.asc(), columns.id.asc()


def _rows(database: Database, query: sa.Select[Any]) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return [row._asdict() for row in connection.execute(query)]
