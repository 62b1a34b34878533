"""What a batch survives, with a small honest scorer of numpy."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

import core
from core.decide import Decision
from daemon.answers import BatchFacts, answer
from daemon.batch_scoring import REGROW_AFTER, AcceleratorLost, BatchScoring, Failure, Tally
from daemon.clock import SystemClock
from daemon.flow import UninspectedReason
from daemon.quarantine import Quarantine
from daemon.work import QueuedFrame
from tests.daemon.fake_scorer import NAN, POISON, FakeScorer, frame, line_bank
from tests.pictures import samples, weave

FACTS = BatchFacts(model_id="fake", adapter_sha256=None, size=8, start_ns=2**62, infer_ms=1.0)


class Quarantined(list[str]):
    def put(self, frame: QueuedFrame, error: str) -> None:
        self.append(frame.header.key)


def scoring(scorer: FakeScorer, caught: Quarantined | None = None, *, max_size: int = 8) -> BatchScoring:
    return BatchScoring(
        scorer,
        max_size=max_size,
        keep_heatmaps=frozenset({"reject", "review"}),
        quarantine=(caught if caught is not None else Quarantined()).put,
        clock=SystemClock(),
    )


def jobs(*values: int):
    return [(frame(f"k{place}", value), line_bank()) for place, value in enumerate(values)]


def test_a_frame_that_breaks_the_scorer_spoils_only_itself():
    caught, tally = Quarantined(), Tally()
    outcomes = scoring(FakeScorer(), caught).score(jobs(1, 2, 3, POISON, 5, 6, 7, 8), tally)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [failure.reason for failure in failures] == [UninspectedReason.MODEL_ERROR]
    assert outcomes[3] is failures[0]
    assert [o.score for o in outcomes if not isinstance(o, Failure)] == [1, 2, 3, 5, 6, 7, 8]
    assert caught == ["k3"]
    assert tally.retries == {"error": 1}


def test_a_batch_that_raises_once_is_scored_whole_frame_by_frame():
    caught = Quarantined()
    outcomes = scoring(FakeScorer(flaky=1), caught).score(jobs(1, 2, 3), Tally())
    assert [outcome.score for outcome in outcomes] == [1, 2, 3]
    assert caught == []


def test_a_score_that_is_not_finite_is_no_score():
    outcomes = scoring(FakeScorer()).score(jobs(1, NAN, 3), Tally())
    assert outcomes[1].reason is UninspectedReason.NOT_FINITE
    assert (outcomes[0].score, outcomes[2].score) == (1, 3)
    told = answer(frame("k1"), line_bank(), outcomes[1], FACTS).scored
    assert (told.decision, told.reason, told.score) == ("uninspected", "not_finite", None)


def test_a_batch_that_does_not_fit_in_memory_is_halved_until_it_does():
    scorer, tally = FakeScorer(fits=2), Tally()
    careful = scoring(scorer)
    outcomes = careful.score(jobs(*range(1, 9)), tally)
    assert [outcome.score for outcome in outcomes] == list(range(1, 9))
    assert careful.limit == 2
    assert tally.retries["oom"] >= 2
    scorer.batches.clear()
    careful.score(jobs(*range(1, 9)), Tally())
    assert scorer.batches == [2, 2, 2, 2]


def test_a_halved_limit_grows_back_when_memory_suffices_again():
    scorer = FakeScorer(fits=4)
    careful = scoring(scorer)
    careful.score(jobs(*range(8)), Tally())
    scorer.fits = 8
    for _ in range(REGROW_AFTER):
        careful.score(jobs(1), Tally())
    assert careful.limit == 8


def test_a_single_frame_too_large_for_memory_is_a_model_error():
    outcomes = scoring(FakeScorer(fits=0)).score(jobs(1), Tally())
    assert outcomes[0].reason is UninspectedReason.MODEL_ERROR


def test_an_accelerator_that_is_lost_for_good_ends_the_worker():
    lost = type("AcceleratorError", (RuntimeError,), {})
    with pytest.raises(AcceleratorLost):
        scoring(FakeScorer(error=lost)).score(jobs(1, POISON), Tally())


def test_maps_are_wanted_only_where_a_heatmap_is_kept():
    outcomes = scoring(FakeScorer()).score(jobs(10, 250, 20, 240), Tally())
    assert [outcome.map is not None for outcome in outcomes] == [False, True, False, True]


def test_an_answer_says_what_it_was_decided_by():
    (outcome,) = scoring(FakeScorer()).score(jobs(200), Tally())
    told = answer(frame("k"), line_bank(), outcome, FACTS)
    assert told.scored.decision == Decision.REJECT
    assert (told.scored.score, told.scored.threshold) == (200.0, 100.0)
    assert (told.scored.product, told.scored.threshold_state) == ("cloth", "provisional")
    assert told.heat is not None
    assert told.heat.scale == (0.0, 200.0)


def test_a_p_value_is_told_only_where_the_bank_has_calibration_samples():
    (outcome,) = scoring(FakeScorer()).score(jobs(50), Tally())
    assert answer(frame("k"), line_bank(), outcome, FACTS).scored.p_value is None
    assert answer(frame("k"), line_bank(calibrated=True), outcome, FACTS).scored.p_value == 0.25


@pytest.mark.parametrize(
    ("bounds", "newest"),
    [({"keep": 3}, 3), ({"keep_bytes": 2 * len(frame("k").payload)}, 2), ({"keep_bytes": 1}, 1), ({}, 5)],
)
def test_the_quarantine_keeps_the_newest_frames_within_its_bounds_and_their_bytes(tmp_path, bounds, newest):
    quarantine = Quarantine(tmp_path, **bounds)
    for number in range(5):
        quarantine.put(frame(f"camera:boot:{number}", number), "it broke")
        for path in (tmp_path / "quarantine").glob("*.bin"):
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))  # older by a second than the next
    kept = sorted((tmp_path / "quarantine").glob("*"))
    pictures = [path for path in kept if path.suffix == ".bin"]
    assert {np.frombuffer(path.read_bytes(), np.uint8)[0] for path in pictures} == {*range(5 - newest, 5)}
    assert [path.suffix for path in kept] == [".bin", ".json"] * newest


def test_a_lines_region_of_interest_hides_the_rest_from_its_frames_alone(tiny_scorer):
    left = np.zeros((48, 64), dtype=bool)
    left[:, :32] = True
    with_region, without = (
        replace(
            line_bank(), prepared=tiny_scorer.prepare(core.enrol(tiny_scorer, samples(4), product="p", **o).bank)
        )
        for o in ({"roi": left}, {})
    )
    clean = weave(9)
    dirty = np.where(left[..., None], clean, np.uint8(0))
    batch = [
        (replace(frame(f"k{place}"), image=image), bank)
        for place, (image, bank) in enumerate(
            [(clean, with_region), (dirty, with_region), (clean, without), (dirty, without)]
        )
    ]
    scores = [outcome.score for outcome in scoring(tiny_scorer).score(batch, Tally())]
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
    assert scores[3] > scores[2] + 1
