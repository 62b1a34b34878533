"""The scorer's loop: swap banks, take a batch, score it, hand the answers on. One thread owns the GPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from daemon.answers import BatchFacts, answer, uninspected
from daemon.banks import BankKeeper
from daemon.batch_queue import BatchQueue
from daemon.batch_scoring import BatchScoring, Job, Tally
from daemon.batching import Turn
from daemon.clock import Clock
from daemon.flow import UninspectedReason
from daemon.link import BatchReport
from daemon.selftest import SelfTest
from daemon.status_board import StatusBoard
from daemon.work import Answer, Answers, PreparedBank, QueuedFrame, Scorer

log = logging.getLogger(__name__)

IDLE_S = 0.2
"""An idle loop turns this often, so that its progress shows it is alive and staged banks are taken soon."""
SELFTEST_NS = 3600 * 1_000_000_000


class SelfTestFailed(Exception):
    """A model that worked computes something else now: the next life begins with a fresh one."""


class AnswersOut(Protocol):
    """Where answers go (daemon.finisher.Finisher)."""

    def put(self, answers: Answers) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerFacts:
    """What answers say of the scorer. worker: its index."""

    worker: int
    model_id: str
    adapter_sha256: str | None


class ScoringLoop:
    """Runs in the worker's main thread until the queue is closed and empty."""

    def __init__(
        self,
        *,
        scorer: Scorer,
        scoring: BatchScoring,
        queue: BatchQueue,
        banks: BankKeeper,
        out: AnswersOut,
        board: StatusBoard,
        selftest: SelfTest,
        facts: ScorerFacts,
        clock: Clock,
    ) -> None:
        self._scorer = scorer
        self._scoring = scoring
        self._queue = queue
        self._banks = banks
        self._out = out
        self._board = board
        self._selftest = selftest
        self._facts = facts
        self._clock = clock
        self._tested_ns = clock.monotonic_ns()
        self._failed_check = False

    def run(self) -> None:
        """Turn until drained. Raises AcceleratorLost and SelfTestFailed, which end this life of the worker."""
        while not self._queue.drained:
            self.turn()

    def turn(self) -> None:
        """One turn: at most one batch."""
        self._board.turned()
        self.swap_banks()
        self._test_hourly()
        turn = self._queue.take(IDLE_S)
        if turn.expired:
            late = [_late(frame) for frame in turn.expired]
            self._out.put(Answers(answers=tuple(late)))
        if turn.batch:
            self._score(turn)

    def swap_banks(self) -> None:
        """Take what the bank keeper has staged; each new bank passes the golden self-test first."""
        self._failed_check = False
        if self._banks.swap_in(self._scorer.prepare, self._check) or self._failed_check:
            enrolled = bool(self._banks.current())
            self._board.selftest("failed" if self._failed_check else "passed" if enrolled else "skipped")

    def _check(self, prepared: PreparedBank) -> str | None:
        error = self._selftest.error(prepared)
        self._failed_check = self._failed_check or error is not None
        return error

    def _test_hourly(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._tested_ns < SELFTEST_NS:
            return
        self._tested_ns = now_ns
        for bank in self._banks.current().values():
            error = self._selftest.error(bank.prepared)
            if error is not None:
                self._board.selftest("failed")
                raise SelfTestFailed(error)

    def _score(self, turn: Turn[QueuedFrame]) -> None:
        start_ns = self._clock.monotonic_ns()
        self._board.busy(start_ns)
        banks, tally = self._banks.current(), Tally()
        jobs: list[Job] = [(frame, banks[frame.line]) for frame in turn.batch if frame.line in banks]
        outcomes = self._scoring.score(jobs, tally)
        took_ns = self._clock.monotonic_ns() - start_ns
        self._board.busy(None)
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
