"""The worker's parts put together for tests, with a small honest scorer in place of the encoder."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from daemon.batch_queue import BatchQueue
from daemon.batch_scoring import BatchScoring
from daemon.clock import SystemClock
from daemon.lane import Lane, ScorerFacts
from daemon.scoring_loop import ScoringLoop
from daemon.selftest import SelfTest
from daemon.status_board import StatusBoard
from daemon.work import Answers, LineBank, PreparedBank, QueuedFrame
from tests.daemon.fake_scorer import FakeScorer

CLOCK = SystemClock()
PATIENCE_MS = 60_000


class SteppedClock(SystemClock):
    """The real clock, moved on by hand."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


class StagedBanks:
    """Stands in for the bank keeper: stages what a test hands in, and asks the self-test as the keeper does."""

    def __init__(self) -> None:
        self.staged: list[LineBank] = []
        self._current: dict[int, LineBank] = {}

    def swap_in(self, prepare: Any, check: Callable[[PreparedBank], str | None]) -> bool:
        staged, self.staged = self.staged, []
        passed = [bank for bank in staged if check(bank.prepared) is None]
        self._current = {**self._current, **{bank.line: bank for bank in passed}}
        return bool(passed)

    def current(self) -> dict[int, LineBank]:
        return self._current

    def status(self) -> Any:
        return SimpleNamespace(redis_up=True, db_up=True, loads={}, bytes_held=0, lines={})


class Out(list[Answers]):
    def put(self, answers: Answers) -> None:
        self.append(answers)


def queue(max_size: int = 8) -> BatchQueue:
    return BatchQueue(max_size=max_size, max_delay_ns=5_000_000, clock=CLOCK)


def board() -> StatusBoard:
    return StatusBoard(worker=0, life=1, clock=CLOCK)


def fill(queue: BatchQueue, *frames: QueuedFrame) -> None:
    for _ in frames:
        queue.expect()
    for item in frames:
        queue.arrive(item)


def scoring_loop(
    scorer: FakeScorer,
    queue: BatchQueue,
    banks: StagedBanks,
    out: Any,
    *,
    clock: SystemClock = CLOCK,
    lanes: int = 1,
    enter_lane: Callable[[], None] = lambda: None,
) -> ScoringLoop:
    keeper: Any = banks
    told = board()
    return ScoringLoop(
        scorer=scorer,
        lanes=[lane(scorer, queue, banks, out, told, clock=clock, index=index) for index in range(lanes)],
        banks=keeper,
        board=told,
        selftest=SelfTest(scorer=scorer, device="cpu", precision="float32"),
        clock=clock,
        enter_lane=enter_lane,
    )


def lane(
    scorer: FakeScorer,
    queue: BatchQueue,
    banks: StagedBanks,
    out: Any,
    told: StatusBoard,
    *,
    clock: SystemClock,
    index: int,
) -> Lane:
    return Lane(
        index=index,
        scoring=BatchScoring(
            scorer,
            max_size=8,
            keep_heatmaps=frozenset({"reject"}),
            quarantine=lambda frame, error: None,
            clock=clock,
        ),
        queue=queue,
        banks=banks.current,
        out=out,
        board=told,
        facts=ScorerFacts(worker=0, model_id="fake", adapter_sha256=None),
        clock=clock,
    )
