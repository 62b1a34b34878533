"""`threshold`: what the lines accept and what that promises; or move it live, by rate or by value.

By rate the bank's own good samples place the threshold, and what they cannot carry is refused. By value it is
manual: no promise. A threshold that lets more through is tried on the product's known defects first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

import core
from core.calibration import Calibration, threshold_at, thresholds_at
from core.decide import Thresholds, ThresholdState
from core.errors import CalibrationError
from daemon.admin import options
from daemon.admin.guard import AllowMisses, check_known_defects
from daemon.admin.output import remark, show, show_one
from daemon.admin.running import announce
from daemon.admin.session import Refused, Session, operator
from daemon.admin.threshold_rows import COLUMNS, calibration_of, chosen_in_words, threshold_row
from daemon.bank_store import read_bank_file
from daemon.feedback import Label, latest
from daemon.records import LineAssignment, LineChange

Rejects = Annotated[
    float | None,
    typer.Option("--max-false-rejects", metavar="P", help="Reject at most this rate of good parts."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for: two rates, or two values. None leaves that one as it is."""

    reject: float | None = None
    review: float | None = None
    max_false_rejects: float | None = None
    max_reviews: float | None = None

    @property
    def by_value(self) -> bool:
        """Whether a value is named."""
        return self.reject is not None or self.review is not None

    @property
    def by_rate(self) -> bool:
        """Whether a rate is named."""
        return self.max_false_rejects is not None or self.max_reviews is not None


def threshold(
    context: typer.Context,
    line: options.AnyLine = None,
    product: options.Product = None,
    max_false_rejects: Rejects = None,
    max_reviews: options.Reviews = None,
    reject: Annotated[float | None, typer.Option("--reject", metavar="X", help="Reject above X.")] = None,
    review: Annotated[
        float | None, typer.Option("--review", metavar="Y", help="Ask a person above Y, up to X.")
    ] = None,
    allow_misses: AllowMisses = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would be and change nothing.")] = False,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Show the thresholds of all lines, of one, or of every line of a product; or change them live.

    By rate (--max-false-rejects, --max-reviews) the good samples of each line's bank place them, with a promise.
    By value (--reject, --review) nothing is promised. A review band ends where Q equals P, or Y equals X.
    """
    session: Session = context.obj
    wish = Wish(reject=reject, review=review, max_false_rejects=max_false_rejects, max_reviews=max_reviews)
    if wish.by_rate and wish.by_value:
        raise typer.BadParameter("name rates or values, not both", param_hint="--reject|--review")
    if (wish.by_rate or wish.by_value) and line is None and product is None:
        raise typer.BadParameter("name the line, or the product for all its lines", param_hint="--line|--product")
    chosen = _chosen(session, line, product)
    calibrations = {each.line: calibration_of(session, each) for each in chosen}
    extra: dict[int, dict[str, Any]] = {}
    if wish.by_rate or wish.by_value:
        changes = [(each, _moved(each, calibrations[each.line], wish)) for each in chosen]
        _try_known_defects(session, changes, allow_misses=allow_misses)
        chosen, extra = _change(session, changes, why=why, wait_s=wait, dry_run=dry_run)
    rows = [{**threshold_row(each, calibrations[each.line]), **extra.get(each.line, {})} for each in chosen]
    if line is not None:
        show_one(rows[0] if as_json else _in_words(rows[0], chosen[0].thresholds), as_json=as_json)
    else:
        show(rows, columns=COLUMNS, as_json=as_json, empty="No line is enrolled.")


def _in_words(row: dict[str, Any], thresholds: Thresholds) -> dict[str, Any]:
    """What a person reads of a line's thresholds: the rates stand in `promise`."""
    names = ("line", "product", "bank", "revision", "updated_at", "threshold_state", "reject", "review", "samples")
    told = {name: row[name] for name in names if name != "review" or row["review"] < row["reject"]}
    told["chosen"] = chosen_in_words(thresholds) or "no rate"
    told["promise"] = row["promise"]
    return told if row.get("scores_since") is None else {**told, "scores_since": row["scores_since"]}


def moved(old: Thresholds, *, reject: float | None, review: float | None) -> Thresholds:
    """The thresholds after a person moved one or both. Pure.

    Without a review band, moving `reject` alone moves both: nobody asked for a band. A rate that was chosen stays
    with the threshold that is not moved.

    Raises CalibrationError where they would not be finite or cross.
    """
    new_reject = old.reject if reject is None else reject
    unmoved = new_reject if old.review == old.reject else old.review
    return Thresholds(
        reject=new_reject,
        review=unmoved if review is None else review,
        state=ThresholdState.MANUAL,
        max_false_rejects=old.max_false_rejects if reject is None else None,
        max_reviews=old.max_reviews if review is None else None,
    )


def placed(
    old: Thresholds, good_scores: Sequence[float], *, max_false_rejects: float | None, max_reviews: float | None
) -> Thresholds:
    """The thresholds after a person named one rate or both; what is not named stays, as in `moved`. Pure.

    They are calibrated where both come from rates, and manual where the one that stays does not.

    Raises CalibrationError for a rate the samples cannot carry, or where they would cross.
    """
    if max_false_rejects is not None and (max_reviews is not None or old.review == old.reject):
        return thresholds_at(good_scores, max_false_rejects=max_false_rejects, max_reviews=max_reviews)
    state = ThresholdState.CALIBRATED if old.state is ThresholdState.CALIBRATED else ThresholdState.MANUAL
    if max_false_rejects is not None:
        reject = threshold_at(good_scores, max_false_rejects)
        return replace(old, reject=reject, state=state, max_false_rejects=max_false_rejects)
    if max_reviews is None:
        return replace(old, state=state)
    band = None if max_reviews == old.max_false_rejects else max_reviews
    return replace(old, review=threshold_at(good_scores, max_reviews), state=state, max_reviews=band)


def _chosen(session: Session, line: int | None, product: str | None) -> list[LineAssignment]:
    """The enrolled lines that are meant. Raises Refused where one is named that is not there."""
    if line is not None:
        assigned = session.assigned(line)
        if product is not None and assigned.product != product:
            raise Refused(f"line {line} makes {assigned.product!r} now, not {product!r}")
        return [assigned]
    lines = session.records.lines()
    making = [each for each in lines if product is None or each.product == product]
    if product is not None and not making:
        made = ", ".join(sorted({each.product for each in lines})) or "none"
        raise Refused(f"no line makes product {product!r} now; products in charge of a line: {made}")
    return making


def _moved(each: LineAssignment, calibration: Calibration, wish: Wish) -> Thresholds:
    try:
        if wish.by_value:
            return moved(each.thresholds, reject=wish.reject, review=wish.review)
        return placed(
            each.thresholds,
            calibration.calibration_scores,
            max_false_rejects=wish.max_false_rejects,
            max_reviews=wish.max_reviews,
        )
    except CalibrationError as error:
        remedy = ""
        if error.needed is not None:
            remedy = (
                f"; bring them with `aprilgan-admin calibrate --line {each.line} DIR` or --accepted-since 8h, "
                f"until then the threshold stays {each.thresholds.state}"
            )
        raise Refused(f"line {each.line}: {error}{remedy}") from error


def _try_known_defects(
    session: Session, changes: Sequence[tuple[LineAssignment, Thresholds]], *, allow_misses: bool
) -> None:
    """Where more would be accepted than now, no known defect may be. Raises Refused."""
    for each, thresholds in changes:
        if thresholds.review <= each.thresholds.review:
            continue
        if latest(session.records.database, product=each.product, label=Label.DEFECT):
            data = read_bank_file(session.state_dir, each.bank_path, each.bank_sha256)
            bank = core.bank_from_bytes(data, sha256=each.bank_sha256)
            check_known_defects(session, bank, thresholds, allow_misses=allow_misses)


def _change(
    session: Session,
    changes: Sequence[tuple[LineAssignment, Thresholds]],
    *,
    why: str | None,
    wait_s: float,
    dry_run: bool,
) -> tuple[list[LineAssignment], dict[int, dict[str, Any]]]:
    """Write every change in one transaction and announce it; what the lines have then."""
    wanted = [(_audited(each, thresholds, why), each.revision) for each, thresholds in changes]
    if dry_run:
        remark("Dry run: nothing was changed.")
        return [_as_if(each, thresholds) for each, thresholds in changes], {}
    written = session.records.reassign(wanted)
    return written, {each.line: {"scores_since": announce(session, each, None, wait_s=wait_s)} for each in written}


def _audited(each: LineAssignment, thresholds: Thresholds, why: str | None) -> LineChange:
    return LineChange(
        line=each.line,
        product=each.product,
        bank_sha256=each.bank_sha256,
        thresholds=thresholds,
        who=operator(),
        action="threshold",
        why=why,
        at=datetime.now(UTC),
    )


def _as_if(each: LineAssignment, thresholds: Thresholds) -> LineAssignment:
    return replace(each, thresholds=thresholds)
