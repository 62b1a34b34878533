"""What an enrolment says when it is done: spread of the scores, threshold, what it promises, what to look at."""

from __future__ import annotations

from typing import Any

import core
from daemon.admin.contact_sheet import Promise
from daemon.admin.output import remark, show_one


def report(
    enrolment: core.Enrolment,
    *,
    line: int,
    published: dict[str, Any] | None,
    as_json: bool,
    extra: dict[str, Any] | None = None,
) -> None:
    """Say what came out. published: None after a dry run. extra: more fields, after the others."""
    row = {**_row(enrolment, line), "published": published is not None, **(published or {}), **(extra or {})}
    if as_json:
        show_one(row, as_json=True)
        return
    show_one({**row, **_in_words(row, enrolment)}, as_json=False)
    for warning in enrolment.warnings:
        remark(f"warning: {warning}")
    next_step = Promise.of(enrolment.bank).next_step(line)
    if next_step:
        remark(next_step)
    if published is None:
        remark("Dry run: nothing was stored.")


def _row(enrolment: core.Enrolment, line: int) -> dict[str, Any]:
    header, thresholds = enrolment.bank.header, enrolment.thresholds
    return {
        "line": line,
        "product": header.product,
        "shots": header.shots,
        "encoder": header.encoder_id,
        "reference_scores": _spread(enrolment.scores),
        "calibration_scores": _spread(enrolment.calibration_scores),
        "reject_above": thresholds.reject,
        "review_above": thresholds.review,
        "threshold_state": thresholds.state.value,
        "expected_false_rejects": enrolment.expected_false_rejects,
        "upper_false_rejects": header.calibration.upper_false_rejects,
        "samples_missing_for_1_percent": Promise.of(enrolment.bank).missing,
        "warnings": list(enrolment.warnings),
    }


def _spread(scores: tuple[float, ...]) -> dict[str, float] | None:
    if not scores:
        return None
    ordered = sorted(scores)
    return {
        "count": len(ordered),
        "min": ordered[0],
        "median": ordered[len(ordered) // 2],
        "max": ordered[-1],
    }


def _in_words(row: dict[str, Any], enrolment: core.Enrolment) -> dict[str, str]:
    """The fields of a report that read better as a phrase."""
    words = {
        key: "{count} from {min:.3g} to {max:.3g}, median {median:.3g}".format(**row[key])
        for key in ("reference_scores", "calibration_scores")
        if row[key]
    }
    promised = Promise.of(enrolment.bank).in_words()
    return {**words, "expected_false_rejects": promised, "upper_false_rejects": "", "warnings": ""}
