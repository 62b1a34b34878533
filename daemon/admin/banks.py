"""`banks`: every stored bank, the samples of one, and changes to them; `banks rollback` undoes the last change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from daemon.admin import options, references
from daemon.admin.lines import put_in_charge
from daemon.admin.output import show
from daemon.admin.session import Refused, Session
from daemon.records import BankRecord, LineChange

app = typer.Typer(
    help="List the banks, show or change the samples of a line's, or roll it back.", invoke_without_command=True
)
app.command("show")(references.show_samples)
app.command("add-reference")(references.add_reference)
app.command("remove-reference")(references.remove_reference)

COLUMNS = {
    "sha256": "bank",
    "product": "product",
    "line": "line",
    "shots": "shots",
    "built_at": "built at",
    "threshold_state": "threshold",
    "reject": "reject above",
    "size_bytes": "bytes",
    "encoder": "encoder",
    "in_charge_of": "in charge of",
}


@app.callback()
def banks(
    context: typer.Context,
    line: options.AnyLine = None,
    product: Annotated[
        str | None, typer.Option("--product", parser=options.identifier, help="Only this product.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the stored banks, newest first."""
    if context.invoked_subcommand is None:
        session: Session = context.obj
        in_charge: dict[str, list[int]] = {}
        for assignment in session.records.lines():
            in_charge.setdefault(assignment.bank_sha256, []).append(assignment.line)
        rows = [
            _row(bank, in_charge.get(bank.sha256, []))
            for bank in session.records.banks(product=product, line=line)
        ]
        show(rows, columns=COLUMNS, as_json=as_json, empty="No bank is stored.")


@app.command("rollback")
def rollback(
    context: typer.Context,
    line: options.Line,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Put the bank that the line had before back in charge, with the thresholds it had then."""
    session: Session = context.obj
    current = session.assigned(line)
    before = previous(session.records.changes(line), current.bank_sha256)
    if before is None:
        raise Refused(f"line {line} never had another bank than {current.bank_sha256[:12]}")
    bank = session.records.bank(before.bank_sha256)
    if bank is None:
        raise Refused(f"bank {before.bank_sha256[:12]}, which line {line} had before, is no longer stored")
    put_in_charge(session, line, bank, before.thresholds, "rollback", why, wait_s=wait, as_json=as_json)


def previous(changes: Sequence[LineChange], bank_sha256: str) -> LineChange | None:
    """The last state of a line that had another bank; `changes` newest first. Rolling back twice undoes it."""
    return next((change for change in changes if change.bank_sha256 != bank_sha256), None)


def _row(bank: BankRecord, in_charge_of: list[int]) -> dict[str, Any]:
    return {
        "sha256": bank.sha256,
        "product": bank.product,
        "line": bank.line,
        "path": bank.path,
        "size_bytes": bank.size_bytes,
        "encoder": bank.encoder_id,
        "shots": bank.shots,
        "built_at": bank.built_at.isoformat(timespec="seconds"),
        "reject": bank.thresholds.reject,
        "review": bank.thresholds.review,
        "threshold_state": bank.thresholds.state.value,
        "in_charge_of": in_charge_of,
    }
