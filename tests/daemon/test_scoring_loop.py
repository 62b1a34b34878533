"""The scoring loop and its lanes: batches, banks and self-tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from daemon.scoring_loop import MEMORY_NS, SELFTEST_NS, ScoringLoop, SelfTestFailed
from daemon.selftest import SelfTest
from daemon.work import Image, LineBank
from tests.daemon.fake_scorer import POISON, FakeScorer, frame, line_bank
from tests.daemon.worker_parts import CLOCK, Out, StagedBanks, SteppedClock, board, fill, lane, queue, scoring_loop


def with_golden(score: float) -> LineBank:
    """A bank whose golden picture is 50 bright and scored `score` at enrolment."""
    bank = line_bank()
    golden = SimpleNamespace(**vars(bank.prepared.bank) | {"golden": np.full((8, 8, 3), 50, np.uint8)})
    golden.golden_score = score
    prepared: Any = SimpleNamespace(bank=golden, size_bytes=8)
    return replace(bank, prepared=prepared)


class MeetingScorer(FakeScorer):
    """Scores once so many batches are under way together."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._all_here = threading.Barrier(parties, timeout=60)

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        self._all_here.wait()
        return super().encode(images, banks)


def test_lanes_score_side_by_side_and_the_loop_ends_when_all_are_drained():
    """Each lane is in the middle of a frame before any may finish; one alone would wait for ever."""
    waiting, banks, out, entered = queue(max_size=1), StagedBanks(), Out(), []
    scorer = MeetingScorer(3)
    banks.staged.append(line_bank())
    fill(waiting, *(frame(str(index)) for index in range(3)))
    waiting.close()
    loop = scoring_loop(scorer, waiting, banks, out, lanes=3, enter_lane=lambda: entered.append(1))
    loop.swap_banks()
    loop.run()
    assert sorted(answer.scored.key for answers in out for answer in answers.answers) == ["0", "1", "2"]
    assert scorer.batches == [1, 1, 1]
    assert len(entered) == 2


def test_the_scorer_tells_its_devices_memory_every_second_and_not_more_often():
    clock, told, asked = SteppedClock(), board(), []
    keeper: Any = StagedBanks()
    waiting = queue()
    waiting.close()
    loop = ScoringLoop(
        scorer=FakeScorer(),
        lanes=[lane(FakeScorer(), waiting, keeper, Out(), told, clock=clock, index=0)],
        banks=keeper,
        board=told,
        selftest=SelfTest(scorer=FakeScorer(), device="cpu", precision="float32"),
        clock=clock,
        device_memory=lambda: asked.append(1) or {"allocated": len(asked)},
    )
    loop.turn()
    loop.turn()
    clock.ahead_ns = MEMORY_NS
    loop.turn()
    assert told.status(keeper.status()).device_memory == {"allocated": 2}


def test_the_loop_answers_every_frame_of_a_batch_whatever_its_fate():
    waiting, banks, out = queue(), StagedBanks(), Out()
    banks.staged.append(line_bank())
    fill(
        waiting,
        frame("good", 10),
        frame("bad", 250),
        frame("poison", POISON),
        frame("unenrolled", line=5),
        frame("late", deadline_s=-1),
    )
    waiting.close()
    scoring_loop(FakeScorer(), waiting, banks, out).run()
    told = {answer.scored.key: answer.scored for answers in out for answer in answers.answers}
    assert {key: (scored.decision, scored.reason) for key, scored in told.items()} == {
        "good": ("accept", None),
        "bad": ("reject", None),
        "poison": ("uninspected", "model_error"),
        "unenrolled": ("uninspected", "no_bank"),
        "late": ("uninspected", "deadline"),
    }
    (report,) = [answers.report for answers in out if answers.report]
    assert (report.size, report.bucket, report.retries) == (4, 4, {"error": 1})
    assert set(report.seconds) == {"decode", "encode", "match"}


def test_a_bank_is_swapped_between_batches_only():
    waiting, banks, out = queue(), StagedBanks(), Out()
    loop = scoring_loop(FakeScorer(), waiting, banks, out)
    banks.staged.append(line_bank(reject=100))
    fill(waiting, frame("a", 50))
    loop.turn()
    banks.staged.append(line_bank(reject=20))
    fill(waiting, frame("b", 50))
    loop.turn()
    assert [answers.answers[0].scored.decision for answers in out] == ["accept", "reject"]


def test_a_swapped_bank_is_told_at_once_and_a_turn_without_one_tells_nothing():
    banks, told = StagedBanks(), []
    keeper: Any = banks
    loop = ScoringLoop(
        scorer=FakeScorer(),
        lanes=[],
        banks=keeper,
        board=board(),
        selftest=SelfTest(scorer=FakeScorer(), device="cpu", precision="float32"),
        clock=CLOCK,
        tell=lambda: told.append(1),
    )
    loop.swap_banks()
    assert told == []
    banks.staged.append(line_bank())
    loop.swap_banks()
    assert told == [1]


def test_a_bank_that_fails_its_self_test_is_reported_and_not_used():
    waiting, banks, out = queue(), StagedBanks(), Out()
    loop = scoring_loop(FakeScorer(), waiting, banks, out)
    banks.staged.append(with_golden(49.0))
    fill(waiting, frame("a"))
    loop.turn()
    assert out[0].answers[0].scored.reason == "no_bank"
    banks.staged.append(with_golden(50.0))
    fill(waiting, frame("b"))
    loop.turn()
    assert out[1].answers[0].scored.decision == "accept"


def test_a_model_that_changes_its_mind_within_the_hour_ends_this_life():
    clock, banks = SteppedClock(), StagedBanks()
    bank = with_golden(50.0)
    banks.staged.append(bank)
    loop = scoring_loop(FakeScorer(), queue(), banks, Out(), clock=clock)
    loop.swap_banks()
    bank.prepared.bank.golden_score = 40.0
    clock.ahead_ns = SELFTEST_NS + 1
    with pytest.raises(SelfTestFailed, match="scored 40 at enrolment"):
        loop.turn()


def test_the_self_test_is_less_strict_on_another_backend_but_still_finds_a_wrong_model():
    elsewhere = SelfTest(scorer=FakeScorer(), device="cuda:0", precision="bfloat16")
    assert elsewhere.error(with_golden(51.0).prepared) is None
    assert elsewhere.error(with_golden(60.0).prepared) is not None
