"""A bank with other references is what enrolling the changed set gives, with the promise that the old one had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import core
from core.calibration import thresholds_at
from core.decide import ThresholdState
from core.leave_one_out import ReferenceTokens
from tests.pictures import samples

BUDGET = core.MatchOptions(budget=100)


def test_leaving_a_reference_out_gives_the_bank_that_enrolling_the_others_gives(tiny_scorer: core.Scorer) -> None:
    good = samples(6)
    whole = core.enrol(tiny_scorer, good, product="cloth", object_name="woven cloth", match=BUDGET)
    without = core.re_enrol(tiny_scorer, whole.bank, [*good[:2], *good[3:]])
    anew = core.enrol(
        tiny_scorer, [*good[:2], *good[3:]], product="cloth", object_name="woven cloth", match=BUDGET
    )
    assert all(torch.equal(a, b) for a, b in zip(without.bank.tokens, anew.bank.tokens, strict=True))
    assert without.scores == anew.scores
    assert without.thresholds == anew.thresholds
    assert without.bank.header.object_name == "woven cloth"


def test_cutting_a_references_tokens_out_of_a_thinned_bank_would_give_another_bank(
    tiny_scorer: core.Scorer,
) -> None:
    """Why pictures are kept: the thinned bank of all references holds other tokens than that of the rest."""
    good = samples(6)
    images = [sample.image for sample in good]
    header = core.enrol(tiny_scorer, good, product="cloth", match=BUDGET).bank.header
    tokens = ReferenceTokens.encode(tiny_scorer, images, BUDGET, lambda what, done, total: None)
    own = {tuple(row.tolist()) for row in tokens.tokens[0][0].half()}
    cut = {tuple(row.tolist()) for row in tokens.bank(header).tokens[0]} - own
    rebuilt = {tuple(row.tolist()) for row in tokens.bank(header, without=0).tokens[0]}
    assert len(cut) < len(rebuilt) == BUDGET.budget
    assert not cut <= rebuilt


def test_a_calibrated_bank_stays_calibrated_at_its_rates(tiny_scorer: core.Scorer) -> None:
    good, outside = samples(5), samples(19, first=50)
    calibrated = core.enrol(
        tiny_scorer, good, product="cloth", calibration=outside, max_false_rejects=0.1, match=BUDGET
    )
    more = core.re_enrol(tiny_scorer, calibrated.bank, [*good, samples(1, first=99)[0]], calibration=outside)
    assert more.thresholds.state is ThresholdState.CALIBRATED
    assert more.expected_false_rejects == calibrated.expected_false_rejects == pytest.approx(0.1)
    assert more.calibration_scores != calibrated.calibration_scores


def test_fewer_calibration_pictures_promise_what_they_can(tiny_scorer: core.Scorer) -> None:
    good, outside = samples(5), samples(19, first=50)
    bank = core.enrol(tiny_scorer, good, product="cloth", calibration=outside, match=BUDGET).bank
    fewer = core.re_enrol(tiny_scorer, bank, good, calibration=outside[:4])
    assert fewer.expected_false_rejects == pytest.approx(1 / 5)
    none = core.re_enrol(tiny_scorer, bank, good)
    assert none.thresholds.state is ThresholdState.PROVISIONAL


def test_the_rates_that_were_chosen_since_go_over_and_wait_where_pictures_lack(tiny_scorer: core.Scorer) -> None:
    good, outside = samples(5), samples(19, first=50)
    bank = core.enrol(tiny_scorer, good, product="cloth", calibration=outside, match=BUDGET).bank
    moved = thresholds_at(bank.header.calibration.calibration_scores, max_false_rejects=0.1, max_reviews=0.2)
    anew = core.re_enrol(tiny_scorer, bank, good[:4], calibration=outside, thresholds=moved)
    assert anew.thresholds.state is ThresholdState.CALIBRATED
    assert (anew.thresholds.max_false_rejects, anew.thresholds.max_reviews) == (0.1, 0.2)
    assert anew.thresholds.review < anew.thresholds.reject
    for fewer in (outside[:4], ()):
        waits = core.re_enrol(tiny_scorer, bank, good, calibration=fewer, thresholds=moved).thresholds
        assert waits.state is ThresholdState.PROVISIONAL
        assert (waits.max_false_rejects, waits.max_reviews) == (0.1, 0.2)


def test_the_region_of_interest_stays(tiny_scorer: core.Scorer) -> None:
    good = samples(5)
    mask = np.zeros(good[0].image.shape[:2], bool)
    mask[:, :40] = True
    bank = core.enrol(tiny_scorer, good, product="cloth", roi=mask, match=BUDGET).bank
    again = core.re_enrol(tiny_scorer, bank, good)
    assert again.bank.roi is not None
    assert bank.roi is not None
    np.testing.assert_array_equal(again.bank.roi, bank.roi)
    assert all(torch.equal(a, b) for a, b in zip(again.bank.tokens, bank.tokens, strict=True))


def test_a_bank_without_references_is_refused(tiny_scorer: core.Scorer) -> None:
    bank = core.enrol(tiny_scorer, samples(4), product="cloth").bank
    with pytest.raises(core.EnrolmentError, match="at least one"):
        core.re_enrol(tiny_scorer, bank, [])


def test_the_sample_of_another_size_is_named_even_where_it_is_the_first(tiny_scorer: core.Scorer) -> None:
    odd = samples(1, first=77, size=(40, 64))
    with pytest.raises(core.EnrolmentError, match="good-77: expected 64x48 pixels as the others, got 64x40"):
        core.enrol(tiny_scorer, [*odd, *samples(4)], product="cloth")


def test_an_enrolment_maps_where_each_reference_differs(tiny_scorer: core.Scorer) -> None:
    enrolment = core.enrol(tiny_scorer, samples(4), product="cloth")
    size = tiny_scorer.encoder.image_size
    assert enrolment.maps is not None
    assert enrolment.maps.shape == (4, size, size)
    assert len(enrolment.traits) == 4
