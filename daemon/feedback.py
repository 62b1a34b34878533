"""What people say of verdicts: rows in SQL, and a copy of the part's picture that retention cannot take.

A part that was called a defect is a regression case of its product from then on (daemon.known_defects). Rows are
only ever added; the latest of a key counts, so that a person may change their mind and the audit still shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from daemon import schema
from daemon.database import Database
from daemon.durable import write_durably

FOLDER = "feedback"
_COLUMNS = schema.feedback.c


class Label(StrEnum):
    """What a person says a part is."""

    GOOD = "good"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One word of one person on one part. frame_path: its picture's copy, relative to the state folder."""

    key: str
    line: int
    product: str
    label: Label
    note: str | None
    who: str
    at: datetime
    frame_path: str | None
    frame_sha256: str

    def public(self) -> dict[str, Any]:
        """As `feedback --json` prints it."""
        return {**asdict(self), "label": self.label.value, "at": self.at.isoformat(timespec="seconds")}


def add(database: Database, feedback: Feedback) -> None:
    """Keep one row. Raises RecordsUnavailable."""
    with database.begin() as connection:
        connection.execute(sa.insert(schema.feedback), {**asdict(feedback), "label": feedback.label.value})


def latest(
    database: Database,
    *,
    line: int | None = None,
    product: str | None = None,
    label: Label | None = None,
    keys: Sequence[str] | None = None,
) -> list[Feedback]:
    """What counts now: the latest row of each key that passes the filters, newest first.

    label: of the latest row, so that a part that was called good again is no defect any more.
    Raises RecordsUnavailable.
    """
    newest = sa.select(sa.func.max(_COLUMNS.id)).group_by(_COLUMNS.key)
    query = sa.select(schema.feedback).where(_COLUMNS.id.in_(newest)).order_by(_COLUMNS.id.desc())
    for column, value in ((_COLUMNS.line, line), (_COLUMNS.product, product), (_COLUMNS.label, label)):
        if value is not None:
            query = query.where(column == value)
    if keys is not None:
        query = query.where(_COLUMNS.key.in_(keys))
    with database.begin() as connection:
        return [_from_row(row._asdict()) for row in connection.execute(query)]


def keep_picture(state: Path, product: str, data: bytes, *, suffix: str) -> str:
    """Store a part's picture under its digest; returns the path relative to the state folder. Raises OSError.

    product: a checked name (it came from SQL or the settings). data: a JPEG or PNG file. suffix: ".jpg" or ".png".
    """
    relative = f"{FOLDER}/{product}/{hashlib.sha256(data).hexdigest()}{suffix}"
    if not (state / relative).is_file():
        write_durably(state / relative, data)
    return relative


def _from_row(row: dict[str, Any]) -> Feedback:
    fields = {name: value for name, value in row.items() if name != "id"}
    return Feedback(label=Label(fields.pop("label")), **fields)
