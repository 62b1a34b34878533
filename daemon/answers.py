"""From an outcome to the answer that ingress records. Pure: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass

from core.decide import Decision, decide
from daemon.batch_scoring import Failure, Outcome
from daemon.flow import UninspectedReason
from daemon.link import FrameHeader, ScoredFrame
from daemon.work import Answer, Heat, LineBank, QueuedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """What every answer of a batch says. start_ns: monotonic; infer_ms: start to decision."""

    model_id: str
    adapter_sha256: str | None
    size: int
    start_ns: int
    infer_ms: float


def answer(frame: QueuedFrame, bank: LineBank, outcome: Outcome, facts: BatchFacts) -> Answer:
    """Decide one frame of a batch by its line's thresholds."""
    if isinstance(outcome, Failure):
        decision, reason, detail, score = Decision.UNINSPECTED, outcome.reason, outcome.detail, None
    else:
        decision, reason, detail, score = decide(outcome.score, bank.thresholds), None, None, outcome.score
    scored = ScoredFrame(
        key=frame.header.key,
        decision=decision.value,
        reason=reason.value if reason else None,
        detail=detail,
        score=score,
        threshold=bank.thresholds.reject,
        threshold_state=bank.thresholds.state.value,
        p_value=_p_value(bank, score),
        product=bank.product,
        bank_sha256=bank.bank_sha256,
        model_id=facts.model_id,
        adapter_sha256=facts.adapter_sha256,
        batch_size=facts.size,
        queue_ms=(facts.start_ns - frame.header.received_ns) / 1e6,
        infer_ms=facts.infer_ms,
        no_heatmap="not_kept" if score is not None else "uninspected",
    )
    return Answer(scored=scored, heat=_heat(frame, bank, outcome), frame=frame)


def uninspected(
    header: FrameHeader, reason: UninspectedReason, detail: str, *, frame: QueuedFrame | None = None
) -> Answer:
    """The answer to a frame that no batch saw. frame: its pixels, where they were decoded."""
    return Answer(
        scored=ScoredFrame(
            key=header.key,
            decision=Decision.UNINSPECTED.value,
            reason=reason.value,
            detail=detail,
            no_heatmap="uninspected",
        ),
        frame=frame,
    )


def _p_value(bank: LineBank, score: float | None) -> float | None:
    """The bank's, wherever it has good samples of its own: a threshold that a person moved does not change it."""
    p_value: float | None = None if score is None else bank.prepared.bank.p_value(score)
    return p_value


def _heat(frame: QueuedFrame, bank: LineBank, outcome: Outcome) -> Heat | None:
    if isinstance(outcome, Failure) or outcome.map is None:
        return None
    low, high = bank.prepared.bank.header.map_scale
    return Heat(
        line=frame.line,
        image=frame.image,
        map=outcome.map,
        scale=(float(low), float(high)),
        deadline_ns=frame.deadline_ns,
    )
