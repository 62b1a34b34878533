"""The rates that a person chose for a line's thresholds, and how they go over to its next bank or calibration.

A rate of good parts means the same with every bank, a score does not. So rates stay chosen until somebody chooses
others, and a threshold that was set by score ends with its bank; that is said, with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.calibration import Calibration, chosen_rates, rate_above
from core.decide import Thresholds, ThresholdState, check_band
from core.errors import BankError, CalibrationError
from daemon.admin.output import remark
from daemon.admin.session import Refused, Session
from daemon.admin.threshold_rows import calibration_of
from daemon.records import LineChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a calibration is asked for: P and Q of core.calibration.calibrated, None by default.

    firm: named by this command, and refused where the samples cannot carry it. What only stays chosen is
    provisional until they can.
    """

    max_false_rejects: float | None = None
    max_reviews: float | None = None
    firm: bool = False

    def in_words(self) -> str:
        """For a sentence: "at most 5.00% of good parts rejected, 15.00% reviewed or rejected"."""
        said = []
        if self.max_false_rejects is not None:
            said.append(f"{self.max_false_rejects:.2%} of good parts rejected")
        if self.max_reviews is not None:
            said.append(f"{self.max_reviews:.2%} reviewed or rejected")
        return "at most " + ", ".join(said)


def rates_for(
    session: Session, line: int, product: str, *, max_false_rejects: float | None, max_reviews: float | None
) -> Rates:
    """What is named, and for what is not, what stays chosen; says so. Raises Refused as `merged` does."""
    stays = staying(session, line, product)
    rates = merged(stays, max_false_rejects=max_false_rejects, max_reviews=max_reviews)
    kept = replace(
        stays,
        max_false_rejects=stays.max_false_rejects if max_false_rejects is None else None,
        max_reviews=stays.max_reviews if max_reviews is None else None,
    )
    _remark_on_rates(kept, product)
    return rates


def remark_on_thresholds(session: Session, line: int, product: str) -> None:
    """Say what of a line's thresholds goes over to its next bank of the product, and what does not."""
    _remark_on_rates(staying(session, line, product), product)
    remark_on_values(session, line, product)


def staying(session: Session, line: int, product: str) -> Rates:
    """What was chosen for the product: on this line, else on all its other lines."""
    before = _before(session, line, product)
    if before is None:
        return agreed(each.thresholds for each in session.records.lines() if each.product == product)
    calibration = _calibration(session, before)
    rejects, reviews = chosen_rates(before.thresholds, calibration.calibration_scores if calibration else ())
    return Rates(max_false_rejects=rejects, max_reviews=reviews)


def merged(stays: Rates, *, max_false_rejects: float | None, max_reviews: float | None) -> Rates:
    """What is named wins over what stays. Pure. Raises Refused where the two make no band."""
    rates = Rates(
        max_false_rejects=stays.max_false_rejects if max_false_rejects is None else max_false_rejects,
        max_reviews=stays.max_reviews if max_reviews is None else max_reviews,
        firm=max_false_rejects is not None or max_reviews is not None,
    )
    try:
        check_band(rates.max_false_rejects, rates.max_reviews)
    except CalibrationError as error:
        raise Refused(f"{error}. What is not named stays as it was chosen before: name both rates") from error
    return rates


def agreed(thresholds: Iterable[Thresholds]) -> Rates:
    """The rates of these lines of one product where all have the same; none where they differ. Pure."""
    found = {(each.max_false_rejects, each.max_reviews) for each in thresholds}
    rejects, reviews = found.pop() if len(found) == 1 else (None, None)
    return Rates(max_false_rejects=rejects, max_reviews=reviews)


def _remark_on_rates(kept: Rates, product: str) -> None:
    if kept != Rates():
        remark(f"Chosen for {product} before, and kept: {kept.in_words()}.")


def remark_on_values(session: Session, line: int, product: str) -> None:
    """A threshold that was set by score does not go over to another bank: say so, and what it stood for."""
    before = _before(session, line, product)
    if before is None or before.thresholds.state is not ThresholdState.MANUAL:
        return
    calibration, by_hand = _calibration(session, before), before.thresholds
    stood_for = ""
    if calibration is not None and calibration.calibration_scores:
        rate = rate_above(by_hand.reject, calibration.calibration_scores).expected
        stood_for = f", where it stood for about {rate:.2%} of good parts rejected"
    remark(
        f"warning: the thresholds of line {line} were set by hand (reject above {by_hand.reject:.4g}"
        + (f", review above {by_hand.review:.4g}" if by_hand.review < by_hand.reject else "")
        + f") for the bank it has{stood_for}. Scores of another bank lie elsewhere, so they are not taken over: "
        "choose a rate, which is (--max-false-rejects P), or look at the new scores and set them again with "
        f"`aprilgan-admin threshold --line {line}`"
    )


def _before(session: Session, line: int, product: str) -> LineChange | None:
    """The line's last state with that product."""
    return next((each for each in session.records.changes(line) if each.product == product), None)


def _calibration(session: Session, before: LineChange) -> Calibration | None:
    """None where it cannot be read: enrolling again is what mends that."""
    try:
        return calibration_of(session, before)
    except (Refused, BankError):
        return None
