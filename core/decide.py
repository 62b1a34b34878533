"""The decision: a score and its thresholds in, a decision out. Pure; knows no frame, bank or clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from core.errors import CalibrationError


class Decision(StrEnum):
    """What a line is told about a part. `UNINSPECTED` is the honest answer where there is no score."""

    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"
    UNINSPECTED = "uninspected"


class ThresholdState(StrEnum):
    """How much a threshold promises (method.md, the streaming score)."""

    PROVISIONAL = "provisional"
    """From the references alone; an expected rate, no promise."""
    CALIBRATED = "calibrated"
    """From good samples outside the bank, with a conformal promise on the mean false-reject rate."""
    MANUAL = "manual"
    """Set by a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where accept ends.

    A score above `reject` rejects, a score above `review` and not above `reject` asks for a person. They
    are equal unless someone asks for a review band.

    max_false_rejects, max_reviews: the rates of good parts that a person chose for them, in (0, 1); None where
    nobody did. A score means nothing to another bank, a rate does: these go over to it. Provisional thresholds
    keep what was chosen too, until there are samples that carry it.

    Raises CalibrationError unless both thresholds are finite, `review <= reject`, and the rates lie within (0, 1)
    with `max_false_rejects <= max_reviews`.
    """

    reject: float
    review: float
    state: ThresholdState
    max_false_rejects: float | None = None
    max_reviews: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.reject) and math.isfinite(self.review)):
            raise CalibrationError(f"thresholds must be finite, got reject={self.reject}, review={self.review}")
        if self.review > self.reject:
            raise CalibrationError(
                f"the review threshold must not lie above the reject threshold, "
                f"got review={self.review} > reject={self.reject}"
            )
        for rate in (self.max_false_rejects, self.max_reviews):
            if rate is not None and not 0.0 < rate < 1.0:
                raise CalibrationError(f"expected a rate of good parts between 0 and 1, got {rate}")
        check_band(self.max_false_rejects, self.max_reviews)


def check_band(max_false_rejects: float | None, max_reviews: float | None) -> None:
    """Raise CalibrationError for a rate of reviews, which count rejects as well, below that of rejects."""
    if max_false_rejects is not None and max_reviews is not None and max_reviews < max_false_rejects:
        raise CalibrationError(
            f"reviews count rejects as well, so their rate cannot be below that of rejects: "
            f"got {max_reviews:g} < {max_false_rejects:g}"
        )


def decide(score: float, thresholds: Thresholds) -> Decision:
    """Decide one part. A score that is not finite is never compared: `nan > t` is False, and False is accept."""
    if not math.isfinite(score):
        return Decision.UNINSPECTED
    if score > thresholds.reject:
        return Decision.REJECT
    if score > thresholds.review:
        return Decision.REVIEW
    return Decision.ACCEPT
