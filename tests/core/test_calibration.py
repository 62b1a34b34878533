"""The conformal promise, checked against its definition and by simulation."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, kstest, norm

from core.calibration import (
    Calibration,
    calibrated,
    check_promise,
    chosen_rates,
    conformal_p_value,
    lacking,
    provisional,
    provisional_margin,
)
from core.decide import Thresholds, ThresholdState
from core.errors import CalibrationError

scores = st.lists(st.floats(-100, 100), min_size=9, max_size=60)


@given(scores, st.floats(-120, 120), st.floats(0.11, 0.9))
def test_a_part_is_above_the_threshold_exactly_when_its_p_value_is_at_most_p(good, score, promised):
    calibration = calibrated([0.0, 1.0], good, max_false_rejects=promised)
    rejects = score > calibration.thresholds.reject
    assert rejects == (conformal_p_value(score, good) <= promised + 1e-9)


def test_the_mean_false_reject_rate_over_many_calibrations_keeps_the_promise():
    rng = np.random.default_rng(5)
    promised, rates = 0.1, []
    for _ in range(400):
        threshold = calibrated([0.0], rng.normal(size=19), max_false_rejects=promised).thresholds.reject
        rates.append((rng.normal(size=400) > threshold).mean())
    assert abs(np.mean(rates) - promised) <= 3 * np.std(rates) / 20


def test_the_upper_bound_holds_for_95_of_100_calibrations():
    rng = np.random.default_rng(6)
    held = []
    for _ in range(400):
        calibration = calibrated([0.0], rng.uniform(size=99), max_false_rejects=0.05)
        held.append(1.0 - calibration.thresholds.reject <= calibration.upper_false_rejects)
    assert 0.91 <= np.mean(held) <= 0.99


@pytest.mark.parametrize(("promised", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (1 / 9, 8)])
def test_a_promise_too_small_for_the_samples_is_refused_with_the_number_it_takes(promised, needed):
    check_promise(promised, needed)
    with pytest.raises(CalibrationError, match=str(needed)) as refused:
        check_promise(promised, needed - 1)
    assert refused.value.needed == needed


def test_a_provisional_threshold_promises_nothing_and_says_so():
    calibration = provisional([1.0, 3.0, 2.0])
    assert calibration.thresholds.state is ThresholdState.PROVISIONAL
    assert calibration.thresholds.reject == 3.0 + provisional_margin(3)
    assert calibration.expected_false_rejects == 0.25
    assert calibration.p_value(2.0) is None


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")]])
def test_scores_that_are_missing_or_not_finite_are_refused(bad):
    with pytest.raises(CalibrationError):
        provisional(bad)


def test_p_values_of_a_calibrated_bank_lie_between_0_and_1_and_fall_as_the_score_rises():
    calibration = calibrated([0.0], np.arange(20.0))
    values = [calibration.p_value(score) for score in (-5.0, 5.0, 15.0, 25.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(1 / 21)
    assert calibration.p_value(float("nan")) is None


def test_the_provisional_margin_shrinks_as_samples_come_and_never_vanishes():
    margins = [provisional_margin(n) for n in range(2, 40)]
    assert margins == sorted(margins, reverse=True)
    assert margins[-1] == 0.5
    assert provisional_margin(8) == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(("n", "promised"), [(19, 0.05), (99, 0.05), (199, 0.05), (99, 0.01)])
def test_the_realised_rate_of_one_calibration_follows_its_beta(n, promised):
    rng = np.random.default_rng(n)
    thresholds = [
        calibrated([0.0], rng.normal(size=n), max_false_rejects=promised).thresholds.reject for _ in range(300)
    ]
    rates = norm.sf(thresholds)
    k = int(promised * (n + 1) + 1e-9) - 1
    assert kstest(rates, beta(k + 1, n - k).cdf).pvalue > 0.01
    assert rates.mean() <= promised + 2 * rates.std(ddof=1) / np.sqrt(len(rates))


@given(scores, st.floats(0.11, 0.4), st.floats(0.41, 0.9))
def test_a_review_band_lies_below_and_keeps_its_own_rate(good, rejects, reviews):
    thresholds = calibrated([0.0], good, max_false_rejects=rejects, max_reviews=reviews).thresholds
    assert thresholds.review <= thresholds.reject
    assert sum(score > thresholds.review for score in good) + 1 <= reviews * (len(good) + 1) + 1e-6
    assert thresholds.reject == calibrated([0.0], good, max_false_rejects=rejects).thresholds.reject


def test_reviews_count_rejects_and_so_cannot_be_rarer():
    with pytest.raises(CalibrationError, match="reviews count rejects"):
        calibrated([0.0], np.arange(99.0), max_false_rejects=0.05, max_reviews=0.02)
    assert calibrated([0.0], np.arange(19.0), max_reviews=0.05).thresholds.review == 18.0


def test_a_calibration_survives_json_and_old_ones_without_sources_are_read():
    calibration = calibrated([0.5, 1.0], np.arange(20.0), sources=["a" * 64])
    fields = json.loads(json.dumps(asdict(calibration)))
    assert Calibration.from_fields(fields) == calibration
    del fields["calibration_sources"]
    assert Calibration.from_fields(fields).calibration_sources == ()
    with pytest.raises(TypeError):
        Calibration.from_fields({**fields, "another": 1})


def test_a_chosen_rate_that_samples_cannot_carry_waits_and_the_threshold_is_provisional():
    few = calibrated([0.0], np.arange(10.0), max_false_rejects=0.05, max_reviews=0.15, firm=False)
    assert few.thresholds == Thresholds(
        reject=9.0, review=9.0, state=ThresholdState.PROVISIONAL, max_false_rejects=0.05, max_reviews=0.15
    )
    assert (few.expected_false_rejects, few.upper_false_rejects) == (1 / 11, None)
    assert lacking(few.thresholds, 10) == (0.05, 9)
    with pytest.raises(CalibrationError, match="takes 19"):
        calibrated([0.0], np.arange(10.0), max_false_rejects=0.05)
    none = provisional([0.0, 1.0], max_false_rejects=0.05).thresholds
    assert (none.state, lacking(none, 0)) == (ThresholdState.PROVISIONAL, (0.05, 19))


@given(scores, st.floats(0.11, 0.4), st.floats(0.41, 0.9))
def test_a_rate_that_samples_carry_is_placed_alike_whether_it_is_named_or_stays(good, rejects, reviews):
    named = calibrated([0.0], good, max_false_rejects=rejects, max_reviews=reviews)
    assert named == calibrated([0.0], good, max_false_rejects=rejects, max_reviews=reviews, firm=False)
    assert lacking(named.thresholds, len(good)) is None
    assert chosen_rates(named.thresholds, good) == (rejects, reviews)
    ended = calibrated([0.0], good, max_false_rejects=rejects, max_reviews=rejects)
    assert ended == calibrated([0.0], good, max_false_rejects=rejects)


def test_thresholds_from_before_rates_were_kept_stand_for_what_their_samples_say():
    good = np.arange(99.0)
    old = Thresholds(reject=94.0, review=84.0, state=ThresholdState.CALIBRATED)
    assert chosen_rates(old, good) == (pytest.approx(0.05), pytest.approx(0.15))
    by_default = Thresholds(reject=98.0, review=98.0, state=ThresholdState.CALIBRATED)
    by_hand = Thresholds(reject=94.0, review=94.0, state=ThresholdState.MANUAL)
    assert chosen_rates(by_default, good) == chosen_rates(by_hand, good) == chosen_rates(old, ()) == (None, None)


def test_a_chosen_rate_that_is_none_is_no_threshold():
    with pytest.raises(CalibrationError, match="cannot be below that of rejects"):
        Thresholds(
            reject=1.0, review=1.0, state=ThresholdState.CALIBRATED, max_false_rejects=0.05, max_reviews=0.04
        )
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        Thresholds(reject=1.0, review=1.0, state=ThresholdState.MANUAL, max_reviews=1.5)


def test_calibrations_written_before_rates_were_kept_are_read():
    fields = json.loads(json.dumps(asdict(calibrated([0.5], np.arange(20.0), max_false_rejects=0.1))))
    assert Calibration.from_fields(fields).thresholds.max_false_rejects == 0.1
    del fields["thresholds"]["max_false_rejects"], fields["thresholds"]["max_reviews"]
    assert Calibration.from_fields(fields).thresholds.max_false_rejects is None
