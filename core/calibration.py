"""From the scores of good samples to thresholds, in two states that are never confused. Pure.

Provisional: only the references are at hand. Their leave-one-out scores come from smaller banks than live
parts meet, so nothing is promised; the threshold lies `provisional_margin` above the largest.
Calibrated: good samples outside the bank. They are exchangeable with future good parts, so the conformal
p-value `(1 + #{s_i >= s}) / (n + 1)` keeps the mean false-reject rate at or below P (Vovk et al.; method.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, stdtrit

from core.decide import Thresholds, ThresholdState
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
        thresholds = fields["thresholds"]
        state = ThresholdState(thresholds["state"])
        return cls(
            **{
                **fields,
                **{name: tuple(fields.get(name, ())) for name in lists},
                "thresholds": Thresholds(reject=thresholds["reject"], review=thresholds["review"], state=state),
            }
        )

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


def provisional(reference_scores: Sequence[float]) -> Calibration:
    """A threshold from leave-one-out scores alone. Raises CalibrationError unless there are some, all finite."""
    scores = _finite(reference_scores)
    threshold = max(scores) + provisional_margin(len(scores))
    return Calibration(
        reference_scores=scores,
        calibration_scores=(),
        thresholds=Thresholds(reject=threshold, review=threshold, state=ThresholdState.PROVISIONAL),
        expected_false_rejects=1.0 / (len(scores) + 1),
        upper_false_rejects=None,
    )


def calibrated(
    reference_scores: Sequence[float],
    calibration_scores: Sequence[float],
    *,
    max_false_rejects: float | None = None,
    max_reviews: float | None = None,
    sources: Sequence[str] = (),
) -> Calibration:
    """A threshold with a conformal promise on the mean false-reject rate.

    max_false_rejects: P in (0, 1). None takes 1 %, or the least these samples can carry where that is more.
    max_reviews: Q >= P, of good parts that are reviewed or rejected; None makes no review band.
    sources: sha256 of the samples' bytes.

    Raises CalibrationError (with `.needed`) for an explicit P or Q below 1/(n + 1).
    """
    scores = _finite(calibration_scores)
    promised = max_false_rejects
    if promised is None:
        least = max(DEFAULT_FALSE_REJECTS, 1.0 / (len(scores) + 1))
        promised = least if max_reviews is None else min(least, max_reviews)
    thresholds = thresholds_at(scores, max_false_rejects=promised, max_reviews=max_reviews)
    rate = rate_above(thresholds.reject, scores)
    return Calibration(
        reference_scores=_finite(reference_scores),
        calibration_scores=scores,
        thresholds=thresholds,
        expected_false_rejects=rate.expected,
        upper_false_rejects=rate.upper,
        calibration_sources=tuple(sources),
    )


def thresholds_at(
    good_scores: Sequence[float], *, max_false_rejects: float, max_reviews: float | None = None
) -> Thresholds:
    """Reject at most P of good parts, and review or reject at most Q of them, on average over calibrations.

    good_scores: of n samples outside the bank. max_reviews: None makes no review band.

    Raises CalibrationError for a rate outside (0, 1), for Q < P, and (with `.needed`) for one below 1/(n + 1).
    """
    if max_reviews is not None and max_reviews < max_false_rejects:
        raise CalibrationError(
            f"reviews count rejects as well, so their rate cannot be below that of rejects: "
            f"got {max_reviews:g} < {max_false_rejects:g}"
        )
    reject = threshold_at(good_scores, max_false_rejects)
    review = reject if max_reviews is None else threshold_at(good_scores, max_reviews)
    return Thresholds(reject=reject, review=review, state=ThresholdState.CALIBRATED)


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


def _finite(scores: Sequence[float]) -> tuple[float, ...]:
    if len(scores) == 0:
        raise CalibrationError("expected at least one good sample's score, got none")
    bad = [index for index, score in enumerate(scores) if not np.isfinite(score)]
    if bad:
        raise CalibrationError(f"expected finite scores, got {scores[bad[0]]} for sample {bad[0]}")
    return tuple(float(score) for score in scores)
