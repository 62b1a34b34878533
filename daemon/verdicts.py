"""From an answer, or the lack of one, to a verdict. Pure: the rules that a failure is never an accept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core.decide import Decision, ThresholdState
from daemon.fields import fields_of
from daemon.flow import Frame, UninspectedReason, Verdict
from daemon.link import ScoredFrame

_TIMES = ("captured_at", "received_at", "decided_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who decides: goes into every row."""

    software_version: str
    host: str


def uninspected(
    frame: Frame,
    reason: UninspectedReason,
    *,
    at: datetime,
    total_ms: float,
    by: Provenance,
) -> Verdict:
    """The honest answer where there is no score. at: when it was decided; total_ms: since receipt."""
    identity = frame.identity
    return Verdict(
        key=frame.key,
        line=identity.line,
        camera=identity.camera,
        part=identity.part,
        seq=identity.seq,
        decision=Decision.UNINSPECTED,
        reason=reason.value,
        score=None,
        threshold=None,
        threshold_state=None,
        p_value=None,
        product=None,
        bank_sha256=None,
        model_id=None,
        adapter_sha256=None,
        software_version=by.software_version,
        batch_size=None,
        queue_ms=None,
        infer_ms=None,
        total_ms=total_ms,
        host=by.host,
        heatmap=None,
        no_heatmap=Decision.UNINSPECTED.value,
        frame_sha256=frame.sha256,
        captured_at=identity.captured_at,
        received_at=frame.received_at,
        decided_at=at,
    )


def scored(frame: Frame, answer: ScoredFrame, *, at: datetime, total_ms: float, by: Provenance) -> Verdict:
    """The worker's answer as a verdict, checked once more: what it cannot stand for is uninspected."""
    decision, reason = _checked(answer)
    blank = uninspected(frame, UninspectedReason.MODEL_ERROR, at=at, total_ms=total_ms, by=by)
    inspected = decision is not Decision.UNINSPECTED
    return replace(
        blank,
        decision=decision,
        reason=reason,
        score=answer.score if inspected else None,
        threshold=answer.threshold if inspected else None,
        threshold_state=ThresholdState(answer.threshold_state) if inspected and answer.threshold_state else None,
        p_value=answer.p_value if inspected and _finite(answer.p_value) else None,
        product=answer.product,
        bank_sha256=answer.bank_sha256,
        model_id=answer.model_id,
        adapter_sha256=answer.adapter_sha256,
        batch_size=answer.batch_size,
        queue_ms=answer.queue_ms if _finite(answer.queue_ms) else None,
        infer_ms=answer.infer_ms if _finite(answer.infer_ms) else None,
        heatmap=answer.heatmap if inspected else None,
        no_heatmap=answer.no_heatmap if inspected else blank.no_heatmap,
        frame=answer.frame if inspected else None,
    )


def contradicts(first: Verdict, late: ScoredFrame) -> bool:
    """Whether a second answer says something else than the verdict that stands."""
    decision, _ = _checked(late)
    return decision is not first.decision


def to_text(verdict: Verdict) -> str:
    """A verdict as JSON for the outbox; the inverse of `from_text`."""
    return json.dumps(fields_of(verdict), default=datetime.isoformat, allow_nan=False, separators=(",", ":"))


def from_text(text: str) -> Verdict:
    """The verdict that `to_text` wrote."""
    fields = json.loads(text)
    for name in _TIMES:
        fields[name] = _optional(datetime.fromisoformat, fields[name])
    fields["decision"] = Decision(fields["decision"])
    fields["threshold_state"] = _optional(ThresholdState, fields["threshold_state"])
    return Verdict(**fields)


def _checked(answer: ScoredFrame) -> tuple[Decision, str | None]:
    """Decision and reason, after the checks that ingress makes itself."""
    if answer.decision not in tuple(Decision):
        return Decision.UNINSPECTED, UninspectedReason.MODEL_ERROR.value
    decision = Decision(answer.decision)
    if decision is Decision.UNINSPECTED:
        return decision, answer.reason or UninspectedReason.MODEL_ERROR.value
    known_state = answer.threshold_state is None or answer.threshold_state in tuple(ThresholdState)
    if answer.score is None or answer.threshold is None or not known_state:
        return Decision.UNINSPECTED, UninspectedReason.MODEL_ERROR.value
    if not (math.isfinite(answer.score) and math.isfinite(answer.threshold)):
        return Decision.UNINSPECTED, UninspectedReason.NOT_FINITE.value
    if decision is Decision.ACCEPT and answer.score > answer.threshold:
        return Decision.UNINSPECTED, UninspectedReason.MODEL_ERROR.value
    return decision, None


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _optional(convert: Callable[[str], Any], value: str | None) -> Any:
    return None if value is None else convert(value)
