"""The decision never accepts what it cannot compare."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decide import Decision, Thresholds, ThresholdState, decide
from core.errors import CalibrationError

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def thresholds(review: float, reject: float) -> Thresholds:
    return Thresholds(review=review, reject=reject, state=ThresholdState.MANUAL)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_never_accepted(score: float):
    assert decide(score, thresholds(1.0, 1.0)) is Decision.UNINSPECTED


@given(finite, finite, finite)
def test_the_decision_is_monotone_in_the_score(score: float, a: float, b: float):
    order = [Decision.ACCEPT, Decision.REVIEW, Decision.REJECT]
    limits = thresholds(min(a, b), max(a, b))
    assert order.index(decide(score, limits)) <= order.index(decide(score + 1.0, limits))


def test_the_threshold_itself_is_still_accepted():
    limits = thresholds(1.0, 2.0)
    assert [decide(score, limits) for score in (1.0, 1.5, 2.0, 2.5)] == [
        Decision.ACCEPT,
        Decision.REVIEW,
        Decision.REVIEW,
        Decision.REJECT,
    ]


def test_equal_thresholds_leave_no_review_band():
    assert decide(1.0001, thresholds(1.0, 1.0)) is Decision.REJECT


@pytest.mark.parametrize(("review", "reject"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_thresholds_that_make_no_sense_are_refused(review: float, reject: float):
    with pytest.raises(CalibrationError):
        thresholds(review, reject)
