"""`threshold`: show where a line's accept ends, or move it live. A moved threshold is manual: no promise."""

from __future__ import annotations

from typing import Annotated

import typer

from core.decide import Thresholds, ThresholdState
from daemon.admin import options
from daemon.admin.lines import put_in_charge
from daemon.admin.output import show_one
from daemon.admin.session import Refused, Session


def threshold(
    context: typer.Context,
    line: options.Line,
    reject: Annotated[float | None, typer.Option("--reject", metavar="X", help="Reject above X.")] = None,
    review: Annotated[
        float | None, typer.Option("--review", metavar="Y", help="Ask a person above Y, up to X.")
    ] = None,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Show a line's thresholds; with --reject or --review, change them live."""
    session: Session = context.obj
    current = session.assigned(line)
    if reject is None and review is None:
        show_one(current.public(), as_json=as_json)
        return
    thresholds = moved(current.thresholds, reject=reject, review=review)
    bank = session.records.bank(current.bank_sha256)
    if bank is None:
        raise Refused(f"bank {current.bank_sha256[:12]} of line {line} is no longer stored")
    put_in_charge(session, line, bank, thresholds, "threshold", why, wait_s=wait, as_json=as_json)


def moved(old: Thresholds, *, reject: float | None, review: float | None) -> Thresholds:
    """The thresholds after a person moved one or both. Pure.

    Without a review band, moving `reject` alone moves both: nobody asked for a band.

    Raises CalibrationError where they would not be finite or cross.
    """
    new_reject = old.reject if reject is None else reject
    if review is None:
        review = new_reject if old.review == old.reject else old.review
    return Thresholds(reject=new_reject, review=review, state=ThresholdState.MANUAL)
