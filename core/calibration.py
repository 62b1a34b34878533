"""From the scores of good samples to thresholds, in two states that are never confused. Pure.

Provisional: only the references are at hand. Their leave-one-out scores come from smaller banks than live
parts meet, so nothing is promised; the threshold lies `provisional_margin` above the largest.
Calibrated: good samples outside the bank. They are exchangeable with future good parts, so the conformal
p-value `(1 + #{s_i >= s}) / (n + 1)` keeps the mean false-reject rate at or below P (Vovk et al.; method.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betaincinv, stdtrit

from core.decide import Thresholds, ThresholdState, check_band
from core.errors import CalibrationError

LEAST_MARGIN = 0.5
"""Least distance of a provisional threshold above the largest leave-one-out score, in spreads of good samples."""
PREDICTED = 0.99
CONFIDENCE = 0.95
DEFAULT_FALSE_REJECTS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a bank knows of good parts' scores; kept with it and frozen.

    reference_scores: leave-one-out scores of the references. calibration_scores: of good samples outside the
    bank, empty while provisional. expected_false_rejects: the mean rate the threshold stands for (promised
    only when calibrated). upper_false_rejects: 95 % upper bound of the realised rate of this one calibration,
    None while provisional. calibration_sources: sha256 of the samples' bytes, so that none counts twice; banks
    written before these were kept have none.
    """

    reference_scores: tuple[float, ...]
    calibration_scores: tuple[float, ...]
    thresholds: Thresholds
    expected_false_rejects: float
    upper_false_rejects: float | None
    calibration_sources: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Calibration:
        """The inverse of `dataclasses.asdict`, also after JSON.

        Raises LookupError, TypeError, ValueError or CalibrationError for fields that are none.
        """
        lists = ("reference_scores", "calibration_scores", "calibration_sources")
        thresholds = Thresholds(**{**fields["thresholds"], "state": ThresholdState(fields["thresholds"]["state"])})
        return cls(**{**fields, **{name: tuple(fields.get(name, ())) for name in lists}, "thresholds": thresholds})

    def p_value(self, score: float) -> float | None:
        """Conformal p-value of a score, in (0, 1]; None while nothing is promised or the score is not finite."""
        if not self.calibration_scores or not math.isfinite(score):
            return None
        return conformal_p_value(score, self.calibration_scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many good parts score above a threshold.

    expected: on average over calibrations, in (0, 1]. upper: the realised rate of this one calibration, which is
    Beta-distributed around `expected`, lies below it with 95 % confidence.
    """

    expected: float
    upper: float


def conformal_p_value(score: float, good_scores: Sequence[float]) -> float:
    """`(1 + #{s_i >= s}) / (n + 1)`: how often a good part scores at least this high."""
    at_least = sum(1 for good in good_scores if good >= score)
    return (1 + at_least) / (len(good_scores) + 1)


def rate_above(threshold: float, good_scores: Sequence[float]) -> Rate:
    """What a threshold stands for, read from n >= 1 good samples outside the bank.

    With k of them above it the realised rate is at most Beta(k + 1, n - k). A promise only for a threshold that
    was placed by its rate; one that a person placed after looking at scores is merely described.
    """
    n, k = len(good_scores), sum(1 for good in good_scores if good > threshold)
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, CONFIDENCE))
    return Rate(expected=(k + 1) / (n + 1), upper=upper)


def provisional_margin(n: int) -> float:
    """How far above the largest of n leave-one-out scores a provisional threshold lies, in their spread.

    n values fix their own spread poorly: a new value, standardised by it, follows Student's t with n - 1
    degrees, widened by sqrt(1 + 1/n), while none of the n themselves can lie more than (n - 1)/sqrt(n) above
    their mean. The margin closes the gap to the 99 % point: 0.7 for 8, 3.6 for 4, 38 for 2, at least 0.5.
    """
    if n < 2:
        return LEAST_MARGIN
    predictive = float(stdtrit(n - 1, PREDICTED)) * math.sqrt(1.0 + 1.0 / n)
    return max(LEAST_MARGIN, predictive - (n - 1) / math.sqrt(n))


def provisional(
    reference_scores: Sequence[float],
    *,
    max_false_rejects: float | None = None,
    max_reviews: float | None = None,
) -> Calibration:
    """A threshold from leave-one-out scores alone. Raises CalibrationError unless there are some, all finite.

    max_false_rejects, max_reviews: chosen already, for when there are samples that carry them.
    """
    scores = _finite(reference_scores)
    threshold = max(scores) + provisional_margin(len(scores))
    return Calibration(
        reference_scores=scores,
        calibration_scores=(),
        thresholds=Thresholds(
            reject=threshold,
            review=threshold,
            state=ThresholdState.PROVISIONAL,
            max_false_rejects=max_false_rejects,
            max_reviews=max_reviews,
        ),
        expected_false_rejects=1.0 / (len(scores) + 1),
        upper_false_rejects=None,
    )


def calibrated(
    reference_scores: Sequence[float],
    calibration_scores: Sequence[float],
    *,
    max_false_rejects: float | None = None,
    max_reviews: float | None = None,
    firm: bool = True,
    sources: Sequence[str] = (),
) -> Calibration:
    """A threshold with a conformal promise on the mean false-reject rate.

    max_false_rejects: P in (0, 1). None takes 1 %, or the least these samples can carry where that is more.
    max_reviews: Q >= P, of good parts that are reviewed or rejected; None, or P, makes no review band.
    firm: whether a P or Q that the samples cannot carry is refused. Otherwise it stays chosen, and the threshold
    is provisional, at the least rate that they can carry, until there are more. sources: sha256 of their bytes.

    Raises CalibrationError (with `.needed`) for a firm P or Q below 1/(n + 1).
    """
    scores = _finite(calibration_scores)
    max_reviews = _band(max_false_rejects, max_reviews)
    least = 1.0 / (len(scores) + 1)
    promised = max_false_rejects
    if promised is None:
        by_default = max(DEFAULT_FALSE_REJECTS, least)
        promised = by_default if max_reviews is None else min(by_default, max_reviews)
    carried = firm or needed_samples(promised) <= len(scores)  # Q is at least P
    if carried:
        thresholds = thresholds_at(scores, max_false_rejects=promised, max_reviews=max_reviews)
    else:
        band = None if max_reviews is None else max(least, max_reviews)
        thresholds = thresholds_at(scores, max_false_rejects=least, max_reviews=band)
        thresholds = replace(thresholds, state=ThresholdState.PROVISIONAL)
    rate = rate_above(thresholds.reject, scores)
    return Calibration(
        reference_scores=_finite(reference_scores),
        calibration_scores=scores,
        thresholds=replace(thresholds, max_false_rejects=max_false_rejects, max_reviews=max_reviews),
        expected_false_rejects=rate.expected,
        upper_false_rejects=rate.upper if carried else None,
        calibration_sources=tuple(sources),
    )


def chosen_rates(thresholds: Thresholds, good_scores: Sequence[float]) -> tuple[float | None, float | None]:
    """(P, Q) that a person chose for these thresholds, each None where nobody did.

    good_scores: of the samples outside the bank that they belong to. Thresholds from before rates were kept do not
    say what was chosen: calibrated ones that lie elsewhere than by default stand for what their samples say.
    """
    named = thresholds.max_false_rejects, thresholds.max_reviews
    if named != (None, None) or thresholds.state is not ThresholdState.CALIBRATED or len(good_scores) == 0:
        return named
    by_default = calibrated([0.0], good_scores).thresholds
    if (thresholds.reject, thresholds.review) == (by_default.reject, by_default.review):
        return named
    reviews = None
    if thresholds.review < thresholds.reject:
        reviews = rate_above(thresholds.review, good_scores).expected
    return rate_above(thresholds.reject, good_scores).expected, reviews


def thresholds_at(
    good_scores: Sequence[float], *, max_false_rejects: float, max_reviews: float | None = None
) -> Thresholds:
    """Reject at most P of good parts, and review or reject at most Q of them, on average over calibrations.

    good_scores: of n samples outside the bank. max_reviews: None makes no review band.

    Raises CalibrationError for a rate outside (0, 1), for Q < P, and (with `.needed`) for one below 1/(n + 1).
    """
    check_band(max_false_rejects, max_reviews)
    reject = threshold_at(good_scores, max_false_rejects)
    review = reject if max_reviews is None else threshold_at(good_scores, max_reviews)
    return Thresholds(
        reject=reject,
        review=review,
        state=ThresholdState.CALIBRATED,
        max_false_rejects=max_false_rejects,
        max_reviews=_band(max_false_rejects, max_reviews),
    )


def threshold_at(good_scores: Sequence[float], promised: float) -> float:
    """The lowest threshold that at most `promised` of good parts exceed. Raises as `check_promise` does."""
    n = len(good_scores)
    check_promise(promised, n)
    # reject when p(s) <= P, that is when at most k of the good scores lie at or above s
    k = math.floor(promised * (n + 1) + 1e-9) - 1
    return sorted(good_scores, reverse=True)[k]


def needed_samples(max_false_rejects: float) -> int:
    """How many good samples outside the bank a promise of this rate takes, in (0, 1): 99 for 1 %."""
    return math.ceil(1.0 / max_false_rejects - 1e-9) - 1


def lacking(thresholds: Thresholds, samples: int) -> tuple[float, int] | None:
    """(the strictest rate that was chosen for provisional thresholds, how many good samples it lacks).

    samples: outside the bank, so far. None where nothing was chosen, or all of it is carried.
    """
    chosen = [rate for rate in (thresholds.max_false_rejects, thresholds.max_reviews) if rate is not None]
    if thresholds.state is not ThresholdState.PROVISIONAL or not chosen:
        return None
    return min(chosen), max(0, needed_samples(min(chosen)) - samples)


def check_promise(max_false_rejects: float, samples: int) -> None:
    """Raise CalibrationError unless `samples` good samples outside the bank can carry the promise."""
    if not 0.0 < max_false_rejects < 1.0:
        raise CalibrationError(f"expected a false-reject rate between 0 and 1, got {max_false_rejects}")
    needed = needed_samples(max_false_rejects)
    if samples < needed:
        least = f" (the least that {samples} can promise is {1 / (samples + 1):.3g})" if samples else ""
        raise CalibrationError(
            f"a false-reject rate of {max_false_rejects:g} takes {needed} good samples outside the bank, "
            f"got {samples}{least}",
            needed=needed,
        )


def _band(max_false_rejects: float | None, max_reviews: float | None) -> float | None:
    """Q, None where it is P: a band in which nothing lies is none."""
    return None if max_reviews == max_false_rejects else max_reviews


def _finite(scores: Sequence[float]) -> tuple[float, ...]:
    if len(scores) == 0:
        raise CalibrationError("expected at least one good sample's score, got none")
    bad = [index for index, score in enumerate(scores) if not np.isfinite(score)]
    if bad:
        raise CalibrationError(f"expected finite scores, got {scores[bad[0]]} for sample {bad[0]}")
    return tuple(float(score) for score in scores)
