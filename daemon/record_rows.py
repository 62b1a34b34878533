"""The values that the records hold besides verdicts: assignments, their changes, banks, products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.decide import Decision, Thresholds, ThresholdState
from daemon.flow import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAssignment:
    """What one line scores with, at one revision. bank_path is relative to the state folder."""

    line: int
    product: str
    bank_sha256: str
    bank_path: str
    thresholds: Thresholds
    revision: int
    updated_at: datetime

    def public(self) -> dict[str, Any]:
        """As JSON: what stands under Redis' pointer and what `lines --json` prints."""
        return {
            "line": self.line,
            "product": self.product,
            "bank": self.bank_sha256,
            "bank_path": self.bank_path,
            "reject": self.thresholds.reject,
            "review": self.thresholds.review,
            "threshold_state": self.thresholds.state.value,
            "max_false_rejects": self.thresholds.max_false_rejects,
            "max_reviews": self.thresholds.max_reviews,
            "revision": self.revision,
            "updated_at": self.updated_at.isoformat(timespec="milliseconds"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """One change of a line, as the audit keeps it: what it scores with from `at` on, who did it, how and why.

    action: "enroll" | "add-reference" | "remove-reference" | "propose" | "calibrate" | "assign" | "rollback" |
    "threshold" | "drift" (the drift watch begins anew; nothing else changes). revision: set by the database.
    """

    line: int
    product: str
    bank_sha256: str
    thresholds: Thresholds
    who: str
    action: str
    why: str | None
    at: datetime
    revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankRecord:
    """A stored bank. path is relative to the state folder; thresholds are those it was published with.

    header: the bank's metadata as JSON, so that it can be asked about without its file.
    """

    sha256: str
    product: str
    line: int
    path: str
    size_bytes: int
    encoder_id: str
    shots: int
    built_at: datetime
    thresholds: Thresholds
    header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRecord:
    """What a line makes. object_name: what the text branch calls it ("metal nut")."""

    name: str
    object_name: str | None
    created_at: datetime


def threshold_columns(thresholds: Thresholds) -> dict[str, Any]:
    """The columns that every table with thresholds has."""
    return {
        "reject_threshold": thresholds.reject,
        "review_threshold": thresholds.review,
        "threshold_state": thresholds.state.value,
        "max_false_rejects": thresholds.max_false_rejects,
        "max_reviews": thresholds.max_reviews,
    }


def pop_thresholds(row: dict[str, Any]) -> Thresholds:
    """The inverse of `threshold_columns`; takes the columns out of `row`."""
    return Thresholds(
        reject=row.pop("reject_threshold"),
        review=row.pop("review_threshold"),
        state=ThresholdState(row.pop("threshold_state")),
        max_false_rejects=row.pop("max_false_rejects"),
        max_reviews=row.pop("max_reviews"),
    )


def assignment_from(row: Mapping[str, Any]) -> LineAssignment:
    """A row of `lines` joined with its bank's path."""
    fields = dict(row)
    return LineAssignment(
        line=fields.pop("id"), bank_path=fields.pop("path"), thresholds=pop_thresholds(fields), **fields
    )


def change_from(row: Mapping[str, Any]) -> LineChange:
    """A row of `line_changes`."""
    fields = {name: value for name, value in row.items() if name != "id"}
    return LineChange(thresholds=pop_thresholds(fields), **fields)


def bank_from(row: Mapping[str, Any]) -> BankRecord:
    """A row of `banks`."""
    fields = dict(row)
    return BankRecord(thresholds=pop_thresholds(fields), **fields)


def product_from(row: Mapping[str, Any]) -> ProductRecord:
    """A row of `products`."""
    return ProductRecord(name=row["name"], object_name=row["object"], created_at=row["created_at"])


def verdict_columns(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a row of `inspections`, without its id."""
    fields = {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__}
    state = fields["threshold_state"]
    return {
        **fields,
        "heatmap_path": fields.pop("heatmap"),
        "frame_path": fields.pop("frame"),
        "decision": verdict.decision.value,
        "threshold_state": state.value if state else None,
    }


def verdict_from(row: Mapping[str, Any]) -> Verdict:
    """The inverse of `verdict_columns`."""
    fields = {name: value for name, value in row.items() if name not in ("id", "hold")}
    state = fields.pop("threshold_state")
    return Verdict(
        decision=Decision(fields.pop("decision")),
        heatmap=fields.pop("heatmap_path"),
        frame=fields.pop("frame_path"),
        threshold_state=ThresholdState(state) if state else None,
        **fields,
    )
