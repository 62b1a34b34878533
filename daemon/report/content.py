"""What a report says, gathered from SQL and the state folder. No page, no chart, no command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from core.calibration import Calibration
from core.decide import Decision, Thresholds
from core.errors import CalibrationError
from daemon import feedback, verdict_queries
from daemon.drift import DriftAlarm, LineDrift
from daemon.drift_watch import FILE, read_drifts
from daemon.flow import UninspectedReason, Verdict
from daemon.record_rows import LineChange
from daemon.records import Records
from daemon.report import tallies
from daemon.report.pictures import Inlined, PictureShelf
from daemon.report.tallies import BucketTally, Counted
from daemon.report.window import Window
from daemon.setting_sections import LineSettings

WORST = 12
NEAREST = 6
Progress = Callable[[str, int, int], None]

_NO_HEATMAP = {
    "not_kept": "heatmaps of this decision are not kept ([heatmaps] keep)",
    "late": "there was no time left to draw it before the deadline",
    "disk": "the disk did not take it",
    "error": "drawing it failed; the daemon's log says why",
}
_FRAME_NOT_KEPT = "the camera's picture was not kept ([frames] keep)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part worth a look. said: what a person called it, "good" | "defect", or None."""

    verdict: Verdict
    picture: Inlined
    heatmap: Inlined
    said: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """Thresholds in force within the window. since: None where they were so before it began."""

    thresholds: Thresholds
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Parts that were not inspected for one reason. first, last: the buckets' starts where they fell."""

    reason: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything on the page.

    buckets: in order. good_scores: of the samples that the line's bank was calibrated on, None where nothing is
    known of them. changes: within the window, oldest first. drift: the line's watch as it was kept last, None
    where it was not. previous: the last verdict before an empty window.
    """

    line: int
    line_settings: LineSettings | None
    window: Window
    buckets: tuple[BucketTally, ...]
    in_force: LineChange | None
    reigns: tuple[Reign, ...]
    changes: tuple[LineChange, ...]
    calibration: Calibration | None
    worst: tuple[Part, ...]
    nearest: tuple[Part, ...]
    losses: tuple[Loss, ...]
    drift: LineDrift | None
    previous: Verdict | None

    @property
    def alarms(self) -> tuple[DriftAlarm, ...]:
        """The drift alarms that stood at some time of the window, oldest first."""
        if self.drift is None:
            return ()
        standing = () if self.drift.alarm is None else (self.drift.alarm,)
        known = (*reversed(self.drift.history), *standing)
        return tuple(
            alarm
            for alarm in known
            if alarm.began < self.window.end and (alarm.ended is None or alarm.ended >= self.window.start)
        )

    @property
    def decisions(self) -> Counter[str]:
        """Decision -> how many, over the window."""
        total: Counter[str] = Counter()
        for bucket in self.buckets:
            total.update(bucket.decisions)
        return total

    @property
    def parts(self) -> int:
        """How many verdicts."""
        return sum(self.decisions.values())

    @property
    def total_ms(self) -> Counted:
        """The time from receipt to verdict, over the window."""
        return Counted.merged(bucket.total_ms for bucket in self.buckets)

    @property
    def deadline_misses(self) -> int:
        """Parts whose deadline passed without an answer."""
        return sum(bucket.uninspected.get(UninspectedReason.DEADLINE, 0) for bucket in self.buckets)

    def scores(self, decision: Decision) -> Counted:
        """The scores of the parts that got this decision."""
        return Counted.merged(bucket.scores[decision] for bucket in self.buckets if decision in bucket.scores)


def gather(
    records: Records,
    state: Path,
    *,
    line: int,
    line_settings: LineSettings | None,
    window: Window,
    tell: Progress,
) -> Report:
    """Read everything that a report says. Memory does not grow with the rows. Raises RecordsUnavailable."""
    buckets = _tallied(records, line, window, tell)
    changes = records.changes(line)[::-1]
    within = tuple(change for change in changes if window.start <= change.at < window.end)
    before = [change for change in changes if change.at < window.start]
    in_force = next((change for change in reversed(changes) if change.at < window.end), None)
    shelf = PictureShelf(state)
    worst, nearest = _looked_at(records, line, window)
    said = _said(records, line, [*worst, *nearest])
    empty = not any(bucket.parts for bucket in buckets)
    return Report(
        line=line,
        line_settings=line_settings,
        window=window,
        buckets=buckets,
        in_force=in_force,
        reigns=_reigns(before[-1:], within),
        changes=within,
        calibration=_calibration(records, in_force),
        worst=tuple(_part(verdict, shelf, said) for verdict in worst),
        nearest=tuple(_part(verdict, shelf, said) for verdict in nearest),
        losses=_losses(buckets),
        drift=read_drifts(state / FILE).get(line),
        previous=_previous(records, line, window) if empty else None,
    )


def _tallied(records: Records, line: int, window: Window, tell: Progress) -> tuple[BucketTally, ...]:
    """Count bucket by bucket, each in a transaction of its own: no long one holds the database's old rows."""
    edges = list(window.buckets())
    found = []
    for done, (start, end) in enumerate(edges):
        tell("counting", done, len(edges))
        with records.database.begin() as connection:
            found.append(tallies.tally(connection, line, start, end))
    tell("counting", len(edges), len(edges))
    return tuple(found)


def _looked_at(records: Records, line: int, window: Window) -> tuple[list[Verdict], list[Verdict]]:
    """The worst, and of the others those nearest their thresholds."""
    with records.database.begin() as connection:
        worst = tallies.worst(connection, line, window, limit=WORST)
        close = tallies.nearest(connection, line, window, limit=WORST + NEAREST)
    shown = {verdict.key for verdict in worst}
    return worst, [verdict for verdict in close if verdict.key not in shown][:NEAREST]


def _said(records: Records, line: int, verdicts: list[Verdict]) -> dict[str, str]:
    """What people called these parts, by key."""
    if not verdicts:
        return {}
    found = feedback.latest(records.database, line=line, keys=[verdict.key for verdict in verdicts])
    return {each.key: each.label.value for each in found}


def _part(verdict: Verdict, shelf: PictureShelf, said: dict[str, str]) -> Part:
    no_heatmap = _NO_HEATMAP.get(verdict.no_heatmap or "", "none was kept")
    return Part(
        verdict=verdict,
        picture=shelf.inline(verdict.frame, absent=_FRAME_NOT_KEPT),
        heatmap=shelf.inline(verdict.heatmap, absent=no_heatmap),
        said=said.get(verdict.key),
    )


def _reigns(before: list[LineChange], within: tuple[LineChange, ...]) -> tuple[Reign, ...]:
    """The thresholds that ruled in the window, in order; a change that left them alone begins none."""
    reigns = [Reign(thresholds=change.thresholds, since=None) for change in before]
    for change in within:
        if not reigns or reigns[-1].thresholds != change.thresholds:
            reigns.append(Reign(thresholds=change.thresholds, since=change.at))
    return tuple(reigns)


def _calibration(records: Records, in_force: LineChange | None) -> Calibration | None:
    """What the bank in force knows of good parts; None for a bank that says nothing readable."""
    bank = None if in_force is None else records.bank(in_force.bank_sha256)
    try:
        return None if bank is None else Calibration.from_fields(json.loads(bank.header)["calibration"])
    except (LookupError, TypeError, ValueError, CalibrationError):
        return None


def _losses(buckets: tuple[BucketTally, ...]) -> tuple[Loss, ...]:
    """Why parts were not inspected, the most frequent reason first."""
    counts: Counter[str] = Counter()
    for bucket in buckets:
        counts.update(bucket.uninspected)
    return tuple(
        Loss(reason=reason, count=count, first=hit[0], last=hit[-1])
        for reason, count in counts.most_common()
        if (hit := [bucket.start for bucket in buckets if reason in bucket.uninspected])
    )


def _previous(records: Records, line: int, window: Window) -> Verdict | None:
    wanted = verdict_queries.VerdictFilter(line=line, until=window.start)
    return next(iter(verdict_queries.page(records.database, wanted, limit=1)), None)


def good_scores(calibration: Calibration) -> tuple[float, float, float]:
    """(25 %, median, 75 %) of the good samples' scores: those outside the bank, else the references'."""
    scores = calibration.calibration_scores or calibration.reference_scores
    low, middle, high = np.percentile(scores, (25, 50, 75))
    return float(low), float(middle), float(high)
