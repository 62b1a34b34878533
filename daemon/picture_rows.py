"""The rows of `inspections` as retention sees them: which pictures a part has, and that they are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.decide import Decision
from daemon import schema
from daemon.database import Database

GONE = "retention"
"""What stands in `no_heatmap` where retention deleted one."""

_COLUMNS = schema.inspections.c
_PICTURES = sa.select(
    _COLUMNS.id, _COLUMNS.decision, _COLUMNS.decided_at, _COLUMNS.heatmap_path, _COLUMNS.frame_path, _COLUMNS.hold
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRow:
    """One part. Paths are relative to the state folder."""

    id: int
    decision: str
    decided_at: datetime
    heatmap_path: str | None
    frame_path: str | None
    hold: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """Its pictures."""
        return tuple(path for path in (self.heatmap_path, self.frame_path) if path is not None)


def oldest(database: Database, decision: Decision, after: PictureRow | None, *, limit: int) -> list[PictureRow]:
    """Parts of a decision, oldest first, from the one after `after`; by the index on (decision, decided_at).

    Raises RecordsUnavailable, as every function here.
    """
    query = _PICTURES.where(_COLUMNS.decision == decision.value)
    if after is not None:
        at, row_id = _COLUMNS.decided_at, _COLUMNS.id
        later = (at > after.decided_at) | (row_id > after.id)
        query = query.where(at >= after.decided_at, later)
    return _read(database, query.order_by(_COLUMNS.decided_at, _COLUMNS.id).limit(limit))


def arrived(database: Database, after_id: int, *, limit: int) -> list[PictureRow]:
    """Parts in the order that SQL got them."""
    return _read(database, _PICTURES.where(_COLUMNS.id > after_id).order_by(_COLUMNS.id).limit(limit))


def empty(database: Database, ids: Sequence[int]) -> set[int]:
    """Have these rows name no picture any more; those that are held meanwhile stay. The ids that were emptied."""
    why = sa.case((_COLUMNS.heatmap_path.is_not(None), GONE), else_=_COLUMNS.no_heatmap)
    statement = (
        sa.update(schema.inspections)
        .where(_COLUMNS.id.in_(ids), _COLUMNS.hold == sa.false())
        .values(no_heatmap=why, heatmap_path=None, frame_path=None)
        .returning(_COLUMNS.id)
    )
    with database.begin() as connection:
        return set(connection.execute(statement).scalars())


def named(database: Database, keys: Iterable[str]) -> tuple[set[str], set[str]]:
    """Of these keys, those that have a row, and every picture path that these rows name."""
    query = sa.select(_COLUMNS.key, _COLUMNS.heatmap_path, _COLUMNS.frame_path).where(_COLUMNS.key.in_(list(keys)))
    with database.begin() as connection:
        rows = connection.execute(query).all()
    paths = {path for row in rows for path in (row.heatmap_path, row.frame_path) if path is not None}
    return {row.key for row in rows}, paths


def set_hold(database: Database, key: str, *, hold: bool) -> PictureRow | None:
    """Hold a part's pictures, or let them go; the row as it is then, None where there is no such verdict."""
    change = sa.update(schema.inspections).where(_COLUMNS.key == key).values(hold=hold)
    with database.begin() as connection:
        connection.execute(change)
        row = connection.execute(_PICTURES.where(_COLUMNS.key == key)).one_or_none()
    return None if row is None else PictureRow(**row._asdict())


def held(database: Database) -> list[dict[str, Any]]:
    """Every part that is held, newest first."""
    shown = (
        _COLUMNS.key,
        _COLUMNS.line,
        _COLUMNS.part,
        _COLUMNS.decision,
        _COLUMNS.decided_at,
        _COLUMNS.heatmap_path,
        _COLUMNS.frame_path,
    )
    query = sa.select(*shown).where(_COLUMNS.hold == sa.true()).order_by(_COLUMNS.id.desc())
    with database.begin() as connection:
        return [row._asdict() for row in connection.execute(query)]


def _read(database: Database, query: sa.Select[Any]) -> list[PictureRow]:
    with database.begin() as connection:
        return [PictureRow(**row._asdict()) for row in connection.execute(query)]
