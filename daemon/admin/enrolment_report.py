"""What an enrolment says when it is done: spread of the scores, threshold, what it promises, what to look at."""

from __future__ import annotations

from typing import Any

import core
from daemon.admin.contact_sheet import Promise
from daemon.admin.output import remark, show_one
from daemon.admin.threshold_rows import chosen_in_words


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
    show_one(_in_words(row, enrolment), as_json=False)
    for warning in enrolment.warnings:
        remark(f"warning: {warning}")
    next_step = Promise.of(enrolment.bank).next_step(line)
    if next_step:
        remark(next_step)
    if published is None:
        remark("Dry run: nothing was stored.")


def _row(enrolment: core.Enrolment, line: int) -> dict[str, Any]:
    header, thresholds, promise = enrolment.bank.header, enrolment.thresholds, Promise.of(enrolment.bank)
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
        "max_false_rejects": thresholds.max_false_rejects,
        "max_reviews": thresholds.max_reviews,
        "rate_wished": promise.wished,
        "samples_missing": promise.missing,
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


def _in_words(row: dict[str, Any], enrolment: core.Enrolment) -> dict[str, Any]:
    """What a person reads of a report: no field that says nothing, numbers as phrases."""
    thresholds, promise = enrolment.thresholds, Promise.of(enrolment.bank)
    told = {name: row[name] for name in ("line", "product", "shots", "encoder")}
    for name in ("reference_scores", "calibration_scores"):
        if row[name]:
            told[name] = "{count} from {min:.3g} to {max:.3g}, median {median:.3g}".format(**row[name])
    told["reject_above"] = f"{thresholds.reject:.4g} ({thresholds.state})"
    if thresholds.review < thresholds.reject:
        told["review_above"] = thresholds.review
    told["expected_false_rejects"] = promise.in_words()
    if chosen := chosen_in_words(thresholds):
        told["chosen"] = chosen
    after = list(row)[list(row).index("warnings") + 2 :]  # what publishing adds
    return {**told, **{name: row[name] for name in after if row[name] is not None and name != "bank_path"}}
