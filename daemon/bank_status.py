"""What the worker's heartbeat says of its banks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.work import LineBank

LINE_FIELDS = (
    "product",
    "bank",
    "threshold",
    "review_threshold",
    "threshold_state",
    "revision",
    "calibration_samples",
)
"""Of a line's status, beside "error"; each None while the line has no bank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperStatus:
    """A snapshot for the heartbeat: see WorkerStatus for the fields."""

    redis_up: bool
    db_up: bool
    loads: dict[str, int]
    bytes_held: int
    lines: dict[str, dict[str, Any]]


def line_status(bank: LineBank | None, error: str | None, *, db_up: bool) -> dict[str, Any]:
    """LINE_FIELDS and "error": why the line has no bank, or why it did not take its latest."""
    if bank is None:
        unenrolled = "never enrolled" if db_up else "SQL has not answered yet"
        return dict.fromkeys(LINE_FIELDS) | {"error": error or unenrolled}
    return {
        "product": bank.product,
        "bank": bank.bank_sha256,
        "threshold": bank.thresholds.reject,
        "review_threshold": bank.thresholds.review,
        "threshold_state": bank.thresholds.state.value,
        "revision": bank.revision,
        "calibration_samples": len(bank.prepared.bank.header.calibration.calibration_scores),
        "error": error,
    }
