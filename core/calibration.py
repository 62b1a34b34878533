"""From the scores of good samples to thresholds, in two states that are never confused. Pure.

Provisional: only the references are at hand. Their leave-one-out scores come from smaller banks than live
parts meet, so nothing is promised; the threshold lies `provisional_margin` above the largest.
Calibrated: good samples outside the bank. They are exchangeable with future good parts, so the conformal
p-value `(1 + #{s_i >= s}) / (n + 1)` keeps the mean false-reject rate at or below P (Vovk et al.; method.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student_t

from core.decide import Thresholds, ThresholdState
from core.errors import CalibrationError

LEAST_MARGIN = 0.5
"""Least distance of a provisional threshold above the largest leave-one-out score, in spreads of good samples."""
PREDICTED = 0.99
DEFAULT_FALSE_REJECTS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a bank knows of good parts' scores; kept with it and frozen.

    reference_scores: leave-one-out scores of the references. calibration_scores: of good samples outside the
    bank, empty while provisional. expected_false_rejects: the mean rate the threshold stands for (promised
    only when calibrated). upper_false_rejects: 95 % upper bound of the realised rate of this one calibration,
    None while provisional.
    """

    reference_scores: tuple[float, ...]
    calibration_scores: tuple[float, ...]
    thresholds: Thresholds
    expected_false_rejects: float
    upper_false_rejects: float | None

    def p_value(self, score: float) -> float | None:
        """Conformal p-value of a score, in (0, 1]; None while nothing is promised or the score is not finite."""
        if not self.calibration_scores or not math.isfinite(score):
            return None
        return conformal_p_value(score, self.calibration_scores)


def conformal_p_value(score: float, good_scores: Sequence[float]) -> float:
    """`(1 + #{s_i >= s}) / (n + 1)`: how often a good part scores at least this high."""
    at_least = sum(1 for good in good_scores if good >= score)
    return (1 + at_least) / (len(good_scores) + 1)


def provisional_margin(n: int) -> float:
    """How far above the largest of n leave-one-out scores a provisional threshold lies, in their spread.

    n values fix their own spread poorly: a new value, standardised by it, follows Student's t with n - 1
    degrees, widened by sqrt(1 + 1/n), while none of the n themselves can lie more than (n - 1)/sqrt(n) above
    their mean. The margin closes the gap to the 99 % point: 0.7 for 8, 3.6 for 4, 38 for 2, at least 0.5.
    """
    if n < 2:
        return LEAST_MARGIN
    predictive = float(student_t.ppf(PREDICTED, n - 1)) * math.sqrt(1.0 + 1.0 / n)
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
) -> Calibration:
    """A threshold with a conformal promise on the mean false-reject rate.

    max_false_rejects: P in (0, 1). None takes 1 %, or the least these samples can carry where that is more.

    Raises CalibrationError (with `.needed`) for an explicit P below 1/(n + 1).
    """
    scores = _finite(calibration_scores)
    n = len(scores)
    promised = max(DEFAULT_FALSE_REJECTS, 1.0 / (n + 1)) if max_false_rejects is None else max_false_rejects
    check_promise(promised, n)
    # reject when p(s) <= P, that is when at most k of the good scores lie at or above s
    k = math.floor(promised * (n + 1) + 1e-9) - 1
    threshold = sorted(scores, reverse=True)[k]
    return Calibration(
        reference_scores=_finite(reference_scores),
        calibration_scores=scores,
        thresholds=Thresholds(reject=threshold, review=threshold, state=ThresholdState.CALIBRATED),
        expected_false_rejects=(k + 1) / (n + 1),
        upper_false_rejects=float(beta.ppf(0.95, k + 1, n - k)),
    )


def check_promise(max_false_rejects: float, samples: int) -> None:
    """Raise CalibrationError unless `samples` good samples outside the bank can carry the promise."""
    if not 0.0 < max_false_rejects < 1.0:
        raise CalibrationError(f"expected a false-reject rate between 0 and 1, got {max_false_rejects}")
    needed = math.ceil(1.0 / max_false_rejects - 1e-9) - 1
    if samples < needed:
        raise CalibrationError(
            f"a false-reject rate of {max_false_rejects:g} takes {needed} good samples outside the bank, "
            f"got {samples} (the least that {samples} can promise is {1 / (samples + 1):.3g})",
            needed=needed,
        )


def _finite(scores: Sequence[float]) -> tuple[float, ...]:
    if len(scores) == 0:
        raise CalibrationError("expected at least one good sample's score, got none")
    bad = [index for index, score in enumerate(scores) if not np.isfinite(score)]
    if bad:
        raise CalibrationError(f"expected finite scores, got {scores[bad[0]]} for sample {bad[0]}")
    return tuple(float(score) for score in scores)
