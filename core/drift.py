"""Have good parts' scores moved since the calibration? A sequential test on conformal p-values. Pure.

While a line's good parts are like its calibration samples, their p-values spread evenly over (0, 1]; when scores
rise they gather near 0, when scores fall near 1. The test bets on that, part by part: wealth is multiplied by
`1 + bet * (x - bound)`, x = 1 - 2p for "higher" and 2p - 1 for "lower", which gains nothing on average while x
stays within its bound. Each part starts a new bettor with 1 (the Shiryaev-Roberts sum `R <- (R + 1) * factor`),
so that long calm leaves no debt; the mean of several such sums is an e-detector (Shin, Ramdas, Rinaldo 2022): the
mean number of parts until it reaches N by chance is at least N, and it reaches N within T parts with a probability
of at most T/N.

What the bounds allow for:
- Defects. Up to `defect_rate` of the parts may be anything at all: a part moves x by at most 1, however bad it is.
- The calibration itself. With n samples the mean of x over good parts is a sum of n uniform variables, known to
  +-1/sqrt(3n) only. A test that takes p-values of one calibration as uniform finds that "drift" sooner or later,
  on every line. The bound lies at the 99 % point, on either side. A shift smaller than that is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

BETS = (0.2, 0.5, 0.9)
"""Fractions of the largest bet that cannot lose everything. Small ones find small shifts, large ones large."""
CALIBRATIONS = 0.99
"""For how many of all calibrations the bound holds, on each side."""
HIGHER, LOWER = "higher", "lower"

Sums: TypeAlias = tuple[float, ...]
"""One Shiryaev-Roberts sum a bet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvidence:
    """What the parts seen so far say. higher, lower: the sums of the two directions."""

    parts: int = 0
    higher: Sums = (0.0,) * len(BETS)
    lower: Sums = (0.0,) * len(BETS)

    @property
    def total(self) -> float:
        """The e-detector: on average no more than `parts` without drift."""
        return (sum(self.higher) + sum(self.lower)) / (2 * len(BETS))

    @property
    def direction(self) -> str:
        """Where the scores have gone, if anywhere."""
        return HIGHER if sum(self.higher) >= sum(self.lower) else LOWER


NO_EVIDENCE = DriftEvidence()
"""Before the first part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTest:
    """The test for one calibration.

    samples: n >= 1 calibration samples. parts_per_false_alarm: N > 1. defect_rate: in [0, 1), of all parts.
    """

    samples: int
    parts_per_false_alarm: float
    defect_rate: float

    @property
    def bounds(self) -> tuple[float, float]:
        """How large the mean of x may be without drift, (higher, lower), each in [0, 1]."""
        spread = NormalDist().inv_cdf(CALIBRATIONS) * math.sqrt(self.samples / 3)
        higher = min(1.0, max(0.0, (spread - 1) / (self.samples + 1)))
        lower = min(1.0, (spread + 1) / (self.samples + 1))
        return self.defect_rate + (1 - self.defect_rate) * higher, lower

    @property
    def smallest_shift(self) -> float:
        """The least rise of all good parts' scores that can be found, in their spread, were they normal."""
        return math.sqrt(2) * NormalDist().inv_cdf(min(1 - 1e-9, (1 + self.bounds[0]) / 2))

    def after(self, evidence: DriftEvidence, p_value: float) -> DriftEvidence:
        """One more part. p_value: conformal, in (0, 1], good part or not."""
        surprise = 1.0 - 2.0 * p_value
        higher, lower = self.bounds
        return DriftEvidence(
            parts=evidence.parts + 1,
            higher=self._bet(evidence.higher, surprise, higher),
            lower=self._bet(evidence.lower, -surprise, lower),
        )

    def level(self, evidence: DriftEvidence) -> float:
        """How near the alarm is, on a logarithmic scale: 0 nothing, 1 the alarm."""
        return math.log(max(1.0, evidence.total)) / math.log(self.parts_per_false_alarm)

    def alarms(self, evidence: DriftEvidence) -> bool:
        """Whether the evidence is as strong as one false alarm in `parts_per_false_alarm` parts asks for."""
        return evidence.total >= self.parts_per_false_alarm

    def _bet(self, sums: Sums, gain: float, bound: float) -> Sums:
        # Beyond the alarm nothing needs counting, and a sum without an end would take as long to fall again.
        most = 2 * len(BETS) * self.parts_per_false_alarm
        return tuple(
            min(most, (total + 1.0) * (1.0 + bet * (gain - bound) / (1.0 + bound)))
            for total, bet in zip(sums, BETS, strict=True)
        )
