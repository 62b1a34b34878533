"""The golden self-test: a stored picture of each bank must score as it did at enrolment.

It finds a model that computes something else than it did: wrong weights, a broken accelerator, a library
that changed its mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.work import PreparedBank, Scorer

SAME_BACKEND = 1e-3
"""Relative tolerance on the device and precision that the bank was enrolled on (method.md)."""
OTHER_BACKEND = 0.1
"""Elsewhere rounding differs: this finds a wrong model, not a different one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Asks a scorer the golden questions. device, precision: where the scorer runs."""

    scorer: Scorer
    device: str
    precision: str

    def error(self, prepared: PreparedBank) -> str | None:
        """What is wrong with the score of the bank's golden picture; None when nothing is, or it has none.

        A scorer that raises here is not caught: a worker that cannot score its golden picture is no worker.
        """
        bank = prepared.bank
        if bank.golden is None or bank.golden_score is None:
            return None
        features = self.scorer.encode([bank.golden])
        result = self.scorer.match(features, [prepared], want_map=lambda index, score: False)[0]
        same = (bank.header.device, bank.header.precision) == (self.device, self.precision)
        tolerance = (SAME_BACKEND if same else OTHER_BACKEND) * max(1.0, abs(bank.golden_score))
        if abs(result.score - bank.golden_score) <= tolerance:
            return None
        return (
            f"self-test failed: the golden picture of {bank.header.product!r} scored {bank.golden_score:.5g} at "
            f"enrolment ({bank.header.device}, {bank.header.precision}) and {result.score:.5g} now "
            f"({self.device}, {self.precision})"
        )
