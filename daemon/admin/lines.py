"""`lines`: what each line is set to score with, and its history; `lines assign` puts another product in charge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from core.decide import Thresholds
from daemon.admin import options
from daemon.admin.output import show, show_one
from daemon.admin.running import announce
from daemon.admin.session import Refused, Session, operator
from daemon.admin.threshold_rows import chosen_in_words
from daemon.bank_store import read_bank_file
from daemon.records import BankRecord, LineAssignment, LineChange
from daemon.setting_sections import LineSettings
from daemon.settings import Settings

app = typer.Typer(help="List the lines, their history, or assign a product.", invoke_without_command=True)

COLUMNS = {
    "line": "line",
    "name": "name",
    "product": "product",
    "bank": "bank",
    "threshold_state": "threshold",
    "reject": "reject above",
    "review": "review above",
    "revision": "revision",
    "updated_at": "since",
    "cameras": "cameras",
    "state": "state",
}


@app.callback()
def lines(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List every line of the settings and of SQL."""
    if context.invoked_subcommand is None:
        session: Session = context.obj
        rows = line_rows(session.settings, session.records.lines())
        show(rows, columns=COLUMNS, as_json=as_json, empty="No line is configured and none is enrolled.")


@app.command("assign")
def assign(
    context: typer.Context,
    line: options.Line,
    product: Annotated[str, typer.Option("--product", metavar="NAME", parser=options.identifier)],
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Put the newest bank of a product that was enrolled on this line in charge of it."""
    session: Session = context.obj
    session.line(line)
    banks = session.records.banks(product=product, line=line)
    if not banks:
        known = sorted({bank.product for bank in session.records.banks(line=line)})
        raise Refused(
            f"product {product!r} was never enrolled on line {line}; enrolled there: {', '.join(known) or 'none'}"
        )
    thresholds = last_with(session.records.changes(line), banks[0].sha256) or banks[0].thresholds
    put_in_charge(session, line, banks[0], thresholds, "assign", why, wait_s=wait, as_json=as_json)


@app.command("history")
def history(context: typer.Context, line: options.Line, as_json: options.AsJson = False) -> None:
    """List every change of a line: who, when, why, and what it scored with from then on."""
    session: Session = context.obj
    columns = {
        "revision": "revision",
        "at": "at",
        "who": "who",
        "action": "action",
        "product": "product",
        "bank": "bank",
        "reject": "reject above",
        "review": "review above",
        "threshold_state": "threshold",
        "chosen": "rates chosen",
        "why": "why",
    }
    rows = [_change_row(change) for change in session.records.changes(line)]
    show(rows, columns=columns, as_json=as_json, empty=f"Line {line} was never changed.")


def put_in_charge(
    session: Session,
    line: int,
    bank: BankRecord,
    thresholds: Thresholds,
    action: str,
    why: str | None,
    *,
    wait_s: float,
    as_json: bool,
) -> None:
    """Have a line score with a stored bank from now on, and show what it has then.

    Raises BankError before anything is changed when the bank's file is missing or damaged.
    """
    data = read_bank_file(session.state_dir, bank.path, bank.sha256)
    current = session.records.line(line)
    assignment = session.records.assign(
        LineChange(
            line=line,
            product=bank.product,
            bank_sha256=bank.sha256,
            thresholds=thresholds,
            who=operator(),
            action=action,
            why=why,
            at=datetime.now(UTC),
        ),
        expected_revision=current.revision if current else None,
    )
    scores_since = announce(session, assignment, data, wait_s=wait_s)
    show_one({**assignment.public(), "scores_since": scores_since}, as_json=as_json)


def last_with(changes: Sequence[LineChange], bank_sha256: str) -> Thresholds | None:
    """The thresholds that a line had last with this bank; `changes` newest first. None: it never had it. Pure."""
    return next((change.thresholds for change in changes if change.bank_sha256 == bank_sha256), None)


def line_rows(settings: Settings, assignments: list[LineAssignment]) -> list[dict[str, Any]]:
    """One row a line, whether the settings know it, SQL, or both. Pure."""
    assigned = {assignment.line: assignment for assignment in assignments}
    ids = sorted({line.id for line in settings.lines} | assigned.keys())
    return [_line_row(settings, settings.line(line), assigned.get(line), line) for line in ids]


def _line_row(
    settings: Settings, configured: LineSettings | None, assignment: LineAssignment | None, line: int
) -> dict[str, Any]:
    empty = dict.fromkeys(
        (
            *("bank", "reject", "review", "threshold_state"),
            *("max_false_rejects", "max_reviews", "revision", "updated_at"),
        )
    )
    return {
        "line": line,
        "name": configured.name if configured else None,
        "product": configured.product if configured else None,
        "cameras": [camera.name for camera in settings.cameras if camera.line == line],
        **(assignment.public() if assignment else empty),
        "state": _state(configured, assignment),
    }


def _state(configured: LineSettings | None, assignment: LineAssignment | None) -> str:
    if configured is None:
        return "not in the settings"
    return "enrolled" if assignment else "not enrolled"


def _change_row(change: LineChange) -> dict[str, Any]:
    return {
        "line": change.line,
        "revision": change.revision,
        "at": change.at.isoformat(timespec="seconds"),
        "who": change.who,
        "action": change.action,
        "why": change.why,
        "product": change.product,
        "bank": change.bank_sha256,
        "reject": change.thresholds.reject,
        "review": change.thresholds.review,
        "threshold_state": change.thresholds.state.value,
        "max_false_rejects": change.thresholds.max_false_rejects,
        "max_reviews": change.thresholds.max_reviews,
        "chosen": chosen_in_words(change.thresholds),
    }
