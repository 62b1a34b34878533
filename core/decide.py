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

    Raises CalibrationError unless both are finite and `review <= reject`.
    """

    reject: float
    review: float
    state: ThresholdState

    def __post_init__(self) -> None:
        if not (math.isfinite(self.reject) and math.isfinite(self.review)):
            raise CalibrationError(f"thresholds must be finite, got reject={self.reject}, review={self.review}")
        if self.review > self.reject:
            raise CalibrationError(
                f"the review threshold must not lie above the reject threshold, "
                f"got review={self.review} > reject={self.reject}"
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
