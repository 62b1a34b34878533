"""What a line's thresholds stand for, in numbers and in words: a promise, an expectation, or a description."""

from __future__ import annotations

import json
from typing import Any

from core.calibration import Calibration, Rate, lacking, rate_above
from core.decide import Thresholds, ThresholdState
from core.errors import BankError, CoreError
from daemon.admin.session import Refused, Session
from daemon.records import LineAssignment, LineChange

COLUMNS = {
    "line": "line",
    "product": "product",
    "threshold_state": "state",
    "samples": "samples",
    "review": "review above",
    "reject": "reject above",
    "expected_false_rejects": "false rejects",
    "expected_reviews": "with reviews",
    "promise": "what it stands for",
}


def calibration_of(session: Session, assignment: LineAssignment | LineChange) -> Calibration:
    """The good samples' scores that a line's bank keeps, from SQL. Raises Refused or BankError."""
    record = session.records.bank(assignment.bank_sha256)
    if record is None:
        raise Refused(f"bank {assignment.bank_sha256[:12]} of line {assignment.line} is no longer stored")
    try:
        return Calibration.from_fields(json.loads(record.header)["calibration"])
    except (LookupError, TypeError, ValueError, CoreError) as error:
        raise BankError(
            f"SQL's copy of the header of bank {record.sha256[:12]} cannot be read: {error!r}; enrol again"
        ) from error


def threshold_row(assignment: LineAssignment, calibration: Calibration) -> dict[str, Any]:
    """The line's thresholds with the rates they stand for; None where nothing can be said. Pure.

    expected_reviews counts rejects as well: the rate of good parts that are not accepted.
    """
    thresholds, scores = assignment.thresholds, calibration.calibration_scores
    rejects = rate_above(thresholds.reject, scores) if scores else None
    reviews = rate_above(thresholds.review, scores) if scores else None
    untouched = not scores and thresholds == calibration.thresholds
    expected = calibration.expected_false_rejects if untouched else None
    return {
        **assignment.public(),
        "samples": len(scores),
        "expected_false_rejects": rejects.expected if rejects else expected,
        "upper_false_rejects": rejects.upper if rejects else None,
        "expected_reviews": reviews.expected if reviews else expected,
        "upper_reviews": reviews.upper if reviews else None,
        "promise": in_words(thresholds, rejects, reviews, expected, samples=len(scores)),
    }


def chosen_in_words(thresholds: Thresholds) -> str:
    """The rates that a person chose: "reject 5 %, review 15 %"; "" where nobody did. Pure."""
    rates = (("reject", thresholds.max_false_rejects), ("review", thresholds.max_reviews))
    return ", ".join(f"{what} {100 * rate:.3g} %" for what, rate in rates if rate is not None)


def in_words(
    thresholds: Thresholds, rejects: Rate | None, reviews: Rate | None, expected: float | None, *, samples: int
) -> str:
    """What a person may rely on. Pure.

    rejects, reviews: None without samples. expected: of a provisional threshold, None where it was moved since.
    """
    state, missing = thresholds.state, lacking(thresholds, samples)
    carries = "99 good samples outside the bank carry 1 %"
    if missing is not None:
        carries = f"the {missing[0]:.2%} chosen takes {missing[1]} more good samples outside the bank"
    if rejects is None or reviews is None:
        about = "" if expected is None else f"about {expected:.2%} of good parts rejected; "
        return f"{state}: {about}no promise ({carries})"
    seen = f"{rejects.expected:.2%} of good parts rejected"
    if thresholds.review < thresholds.reject:
        seen += f" and {reviews.expected:.2%} reviewed or rejected"
    if state is ThresholdState.CALIBRATED:
        return (
            f"at most {seen} on average; this calibration at most {rejects.upper:.2%} rejected (95 % confidence)"
        )
    told = f"{state}: no promise; by its {samples} samples about {seen} on average"
    return told if missing is None else f"{told} ({carries})"
