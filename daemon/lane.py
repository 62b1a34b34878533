"""A lane of the scorer: takes a batch, scores it, hands the answers on. Each runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from daemon.answers import BatchFacts, answer, uninspected
from daemon.batch_queue import BatchQueue
from daemon.batch_scoring import BatchScoring, Job, Tally
from daemon.batching import Turn
from daemon.clock import Clock
from daemon.flow import UninspectedReason
from daemon.link import BatchReport
from daemon.status_board import StatusBoard
from daemon.work import Answer, Answers, LineBank, QueuedFrame

IDLE_S = 0.2
"""An idle lane turns this often, so that its progress shows it is alive and staged banks are taken soon."""


class AnswersOut(Protocol):
    """Where answers go (daemon.finisher.Finisher)."""

    def put(self, answers: Answers) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerFacts:
    """What answers say of the scorer. worker: its index."""

    worker: int
    model_id: str
    adapter_sha256: str | None


class Lane:
    """One batch at a time. banks: what the lines score with now; a batch asks once and keeps to the answer."""

    def __init__(
        self,
        *,
        scoring: BatchScoring,
        queue: BatchQueue,
        banks: Callable[[], Mapping[int, LineBank]],
        out: AnswersOut,
        board: StatusBoard,
        facts: ScorerFacts,
        clock: Clock,
        index: int = 0,
    ) -> None:
        self.scoring = scoring
        self._queue = queue
        self._banks = banks
        self._out = out
        self._board = board
        self._facts = facts
        self._clock = clock
        self._index = index

    @property
    def drained(self) -> bool:
        """Whether nothing is left to take and nothing will come."""
        return self._queue.drained

    def run(self) -> None:
        """Turn until drained. Raises AcceleratorLost, which ends this life of the worker."""
        while not self.drained:
            self.turn()

    def turn(self) -> None:
        """At most one batch."""
        self._board.turned(self._index)
        turn = self._queue.take(IDLE_S)
        if turn.expired:
            late = [_late(frame) for frame in turn.expired]
            self._out.put(Answers(answers=tuple(late)))
        if turn.batch:
            self._score(turn)

    def _score(self, turn: Turn[QueuedFrame]) -> None:
        start_ns = self._clock.monotonic_ns()
        self._board.busy(start_ns, self._index)
        banks, tally = self._banks(), Tally()
        jobs: list[Job] = [(frame, banks[frame.line]) for frame in turn.batch if frame.line in banks]
        outcomes = self.scoring.score(jobs, tally)
        took_ns = self._clock.monotonic_ns() - start_ns
        self._board.busy(None, self._index)
        if jobs and not tally.retries:
            self._queue.observe(len(jobs), took_ns)
        facts = BatchFacts(
            model_id=self._facts.model_id,
            adapter_sha256=self._facts.adapter_sha256,
            size=len(jobs),
            start_ns=start_ns,
            infer_ms=took_ns / 1e6,
        )
        scored = [answer(*job, outcome, facts) for job, outcome in zip(jobs, outcomes, strict=True)]
        unenrolled = [_no_bank(frame) for frame in turn.batch if frame.line not in banks]
        self._out.put(Answers(answers=(*scored, *unenrolled), report=self._report(turn, tally)))

    def _report(self, turn: Turn[QueuedFrame], tally: Tally) -> BatchReport:
        size = len(turn.batch)
        return BatchReport(
            worker=self._facts.worker,
            size=size,
            bucket=self._queue.bucket(size),
            close_reason=str(turn.reason),
            seconds={**tally.seconds, "decode": sum(frame.decode_s for frame in turn.batch)},
            retries=dict(tally.retries),
        )


def _late(frame: QueuedFrame) -> Answer:
    return uninspected(frame.header, UninspectedReason.DEADLINE, "no batch could have answered it in time")


def _no_bank(frame: QueuedFrame) -> Answer:
    detail = "this line has no bank; enrol its product"
    return uninspected(frame.header, UninspectedReason.NO_BANK, detail, frame=frame)
