"""The numbers of a report, counted by SQL bucket by bucket: only distinct values and their counts travel.

Each bucket is one range of the index on (line, decided_at), so the cost grows with the rows, the memory does not.
Scores are rounded to 0.02 spreads of good parts and times to 0.1 ms before they are counted: no database has to
know percentiles, and theirs come out within half a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from core.decide import Decision
from daemon import schema
from daemon.flow import Verdict
from daemon.record_rows import verdict_from
from daemon.report.window import Window

SCORE_STEP = 0.02
TIME_STEP_MS = 0.1

_COLUMNS = schema.inspections.c


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A distribution as distinct values and how often each occurs.

    values: (D,) float64 ascending. counts: (D,) int64.
    """

    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, occurrences: Mapping[float, int]) -> Counted:
        """From value -> count."""
        pairs = sorted(occurrences.items())
        return cls(np.array([v for v, _ in pairs], np.float64), np.array([c for _, c in pairs], np.int64))

    @classmethod
    def merged(cls, parts: Iterable[Counted]) -> Counted:
        """All of them as one."""
        total: Counter[float] = Counter()
        for part in parts:
            total.update(dict(zip(part.values.tolist(), part.counts.tolist(), strict=True)))
        return cls.of(total)

    @property
    def total(self) -> int:
        """How many."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float | None:
        """The smallest value that at least `percent` % do not exceed; None of nothing."""
        if not self.total:
            return None
        at = np.searchsorted(np.cumsum(self.counts), percent / 100 * self.total, side="left")
        return float(self.values[min(int(at), len(self.values) - 1)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BucketTally:
    """One bucket. decisions: decision -> how many; uninspected: reason -> how many; scores: decision -> scores."""

    start: datetime
    end: datetime
    decisions: Mapping[str, int]
    uninspected: Mapping[str, int]
    scores: Mapping[str, Counted]
    total_ms: Counted

    @property
    def parts(self) -> int:
        """How many verdicts."""
        return sum(self.decisions.values())


@dataclass(slots=True)
class _Counters:
    decisions: Counter[str] = field(default_factory=Counter)
    uninspected: Counter[str] = field(default_factory=Counter)
    scores: dict[str, Counter[float]] = field(default_factory=dict)

    def add(self, decision: str, reason: str | None, step: float | None, count: int) -> None:
        self.decisions[decision] += count
        if decision == Decision.UNINSPECTED:
            self.uninspected[reason or "unknown"] += count
        if step is not None:
            self.scores.setdefault(decision, Counter())[float(step) * SCORE_STEP] += count


def tally(connection: Connection, line: int, start: datetime, end: datetime) -> BucketTally:
    """Count one bucket, `start <= decided_at < end`."""
    counters = _Counters()
    for decision, reason, step, count in connection.execute(_decisions_query(line, start, end)):
        counters.add(decision, reason, step, count)
    times = {
        float(step) * TIME_STEP_MS: count for step, count in connection.execute(_times_query(line, start, end))
    }
    return BucketTally(
        start=start,
        end=end,
        decisions=counters.decisions,
        uninspected=counters.uninspected,
        scores={decision: Counted.of(scores) for decision, scores in counters.scores.items()},
        total_ms=Counted.of(times),
    )


def worst(connection: Connection, line: int, window: Window, *, limit: int) -> list[Verdict]:
    """The parts with the highest scores, worst first."""
    return _parts(connection, line, window, _COLUMNS.score.desc(), limit)


def nearest(connection: Connection, line: int, window: Window, *, limit: int) -> list[Verdict]:
    """The parts whose scores lie nearest the threshold that decided them, on either side, nearest first."""
    return _parts(connection, line, window, sa.func.abs(_COLUMNS.score - _COLUMNS.threshold), limit)


def _parts(
    connection: Connection, line: int, window: Window, order: sa.ColumnElement[Any], limit: int
) -> list[Verdict]:
    query = (
        sa.select(schema.inspections)
        .where(*_within(line, window.start, window.end), _COLUMNS.score.is_not(None))
        .order_by(order, _COLUMNS.id)
        .limit(limit)
    )
    return [verdict_from(row._asdict()) for row in connection.execute(query)]


def _decisions_query(line: int, start: datetime, end: datetime) -> sa.Select[Any]:
    step = sa.func.round(_COLUMNS.score / SCORE_STEP).label("score_step")
    counted = sa.select(_COLUMNS.decision, _COLUMNS.reason, step, sa.func.count())
    # by its name: repeated as an expression it would carry another parameter, and PostgreSQL takes it for another
    return counted.where(*_within(line, start, end)).group_by(_COLUMNS.decision, _COLUMNS.reason, "score_step")


def _times_query(line: int, start: datetime, end: datetime) -> sa.Select[Any]:
    step = sa.func.round(_COLUMNS.total_ms / TIME_STEP_MS).label("time_step")
    return sa.select(step, sa.func.count()).where(*_within(line, start, end)).group_by("time_step")


def _within(line: int, start: datetime, end: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return _COLUMNS.line == line, _COLUMNS.decided_at >= start, _COLUMNS.decided_at < end
