"""A fair draw of live parts for a calibration: every part that was inspected has the same chance to be in it.

Accepted parts alone would not do. None of them scores above the threshold in force: calibrated on them, P of what
is accepted now would be rejected as well, 1 - (1 - r)(1 - P) of the good parts where r were rejected before, and
each further round would cut as much again. The good parts above the threshold belong in the sample, in the same
proportion as those below. Accepted parts keep their picture by count, never by score (`[frames] accept_every`),
so m of A are there; of the parts that were stopped the same fraction m/A is drawn, by a hash of the key, which
nobody can throw again until it pleases. Whether one of those is good, only a person can say, and must.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.decide import Decision
from daemon import schema
from daemon.database import Database

_COLUMNS = schema.inspections.c
_SHOWN = (_COLUMNS.key, _COLUMNS.decision, _COLUMNS.score, _COLUMNS.frame_path, _COLUMNS.decided_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A part that may be a calibration sample. frame_path: relative to the state folder, None: not kept."""

    key: str
    decision: Decision
    score: float | None
    frame_path: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a line inspected of one product.

    accepted: how many. kept: those of them with a picture. stopped: all reviewed and rejected parts.
    """

    accepted: int
    kept: tuple[Candidate, ...]
    stopped: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A fair draw, each group in the order of time. fraction: each part's chance to be in it."""

    accepted: tuple[Candidate, ...]
    stopped: tuple[Candidate, ...]
    fraction: float


def look_back(database: Database, *, line: int, product: str, since: datetime) -> Window:
    """Read the window from SQL, by the index of line and time. Raises RecordsUnavailable."""
    made = (_COLUMNS.line == line, _COLUMNS.decided_at >= since, _COLUMNS.product == product)
    accepted = _COLUMNS.decision == Decision.ACCEPT.value
    stopped = _COLUMNS.decision.in_([Decision.REVIEW.value, Decision.REJECT.value])
    with database.begin() as connection:
        count = connection.execute(sa.select(sa.func.count()).where(*made, accepted)).scalar_one()
        queries = [
            sa.select(*_SHOWN).where(*made, chosen).order_by(_COLUMNS.decided_at, _COLUMNS.id)
            for chosen in (accepted & _COLUMNS.frame_path.is_not(None), stopped)
        ]
        kept, others = ([_candidate(row._asdict()) for row in connection.execute(query)] for query in queries)
    return Window(accepted=int(count), kept=tuple(kept), stopped=tuple(others))


def fair_draw(window: Window, *, at_most: int) -> Draw:
    """At most `at_most` accepted parts, and the same fraction of the stopped. Pure; empty without pictures."""
    taken = sorted(window.kept, key=lambda part: chance(part.key))[:at_most]
    fraction = len(taken) / window.accepted if window.accepted else 0.0
    keys = {part.key for part in taken}
    return Draw(
        accepted=tuple(part for part in window.kept if part.key in keys),
        stopped=tuple(part for part in window.stopped if chance(part.key) < fraction),
        fraction=fraction,
    )


def chance(key: str) -> float:
    """A number in [0, 1) that depends on the key alone and is evenly spread over keys."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def _candidate(row: dict[str, Any]) -> Candidate:
    return Candidate(**{**row, "decision": Decision(row["decision"])})
