"""What a line's drift watch knows: frozen values, how they change, and how they stand in a file. No I/O.

One watch belongs to one revision of a line: whatever a person changes, the enrolment, the calibration, a
threshold, or nothing (`aprilgan-admin drift --reset`), begins it anew, and SQL's audit says who did and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from core.drift import BETS, NO_EVIDENCE, DriftEvidence, DriftTest

HISTORY = 20
"""Past alarms that a line keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftAlarm:
    """The scores of a line's good parts have moved.

    direction: "higher" | "lower". parts: how many the watch had seen. ended_at: when a person began it anew. Times
    are ISO 8601, UTC.
    """

    at: str
    direction: str
    parts: int
    bank_sha256: str
    revision: int
    ended_at: str | None = None

    @property
    def began(self) -> datetime:
        """When it was raised."""
        return datetime.fromisoformat(self.at)

    @property
    def ended(self) -> datetime | None:
        """When a person began anew, None while it stands."""
        return None if self.ended_at is None else datetime.fromisoformat(self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDrift:
    """The watch of one line. samples: of its bank's calibration; without any there is nothing to compare with.

    alarm: stands until a person begins anew, also when the scores come back. history: ended alarms, newest first.
    """

    line: int
    revision: int
    bank_sha256: str
    samples: int
    since: str
    evidence: DriftEvidence = NO_EVIDENCE
    alarm: DriftAlarm | None = None
    history: tuple[DriftAlarm, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether parts have p-values to watch."""
        return self.samples > 0

    def follows(self, state: Mapping[str, Any]) -> bool:
        """Whether a line's status (link.WorkerStatus) still shows the revision that this watch belongs to."""
        return (self.revision, self.bank_sha256) == (state["revision"], state["bank"])

    def seen(self, test: DriftTest, p_value: float, at: datetime) -> LineDrift:
        """After one more part."""
        evidence = test.after(self.evidence, p_value)
        if self.alarm is not None or not test.alarms(evidence):
            return replace(self, evidence=evidence)
        alarm = DriftAlarm(
            at=at.isoformat(timespec="seconds"),
            direction=evidence.direction,
            parts=evidence.parts,
            bank_sha256=self.bank_sha256,
            revision=self.revision,
        )
        return replace(self, evidence=evidence, alarm=alarm)


def begun(line: int, state: Mapping[str, Any], before: LineDrift | None, at: datetime) -> LineDrift:
    """A new watch for what a line's status shows; an alarm that stood before ends and joins the history."""
    now = at.isoformat(timespec="seconds")
    history = before.history if before else ()
    if before is not None and before.alarm is not None:
        history = (replace(before.alarm, ended_at=now), *history)[:HISTORY]
    return LineDrift(
        line=line,
        revision=state["revision"],
        bank_sha256=state["bank"],
        samples=state["calibration_samples"],
        since=now,
        history=history,
    )


def public(drift: LineDrift | None, test: DriftTest | None) -> dict[str, Any]:
    """As /statusz and `drift --json` show it. evidence: 0 nothing, 1 the alarm. drift: None without a bank."""
    watched = drift is not None and test is not None
    return {
        "watched": watched,
        "why_not": None if watched else why_not(drift),
        "alarm": asdict(drift.alarm) if drift and drift.alarm else None,
        "evidence": round(test.level(drift.evidence), 4) if drift and test else None,
        "direction": drift.evidence.direction if drift and drift.evidence.total > 1 else None,
        "parts": drift.evidence.parts if drift else 0,
        "since": drift.since if drift else None,
        "samples": drift.samples if drift else 0,
        "smallest_shift": round(test.smallest_shift, 3) if test else None,
        "revision": drift.revision if drift else None,
        "history": [asdict(alarm) for alarm in drift.history] if drift else [],
    }


def from_fields(fields: Mapping[str, Any]) -> LineDrift:
    """The inverse of `dataclasses.asdict`, also after JSON. Raises LookupError, TypeError or ValueError."""
    evidence = fields["evidence"]
    sums = {name: tuple(float(value) for value in evidence[name]) for name in ("higher", "lower")}
    if any(len(values) != len(BETS) for values in sums.values()):
        raise ValueError(f"expected {len(BETS)} sums a direction, got {evidence}")
    return LineDrift(
        **{
            **fields,
            "evidence": DriftEvidence(parts=int(evidence["parts"]), **sums),
            "alarm": None if fields["alarm"] is None else DriftAlarm(**fields["alarm"]),
            "history": tuple(DriftAlarm(**alarm) for alarm in fields["history"]),
        }
    )


def why_not(drift: LineDrift | None) -> str:
    """What a line that is not watched lacks."""
    if drift is None:
        return "no bank has scored for this line yet"
    return "its bank is not calibrated (`aprilgan-admin calibrate`)"
