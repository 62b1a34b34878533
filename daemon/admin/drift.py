"""`drift`: whether good parts' scores have moved, and the alarms there were; or begin the watch anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from daemon.admin import options
from daemon.admin.output import print_json, remark, show, show_one
from daemon.admin.running import announce, page
from daemon.admin.session import Session, operator
from daemon.drift import public
from daemon.drift_watch import FILE, DriftOptions, read_drifts
from daemon.records import LineAssignment, LineChange

COLUMNS = {
    "line": "line",
    "state": "state",
    "evidence": "evidence (1 = alarm)",
    "direction": "scores",
    "parts": "parts",
    "since": "since",
    "samples": "samples",
}
ALARMS = {
    "at": "alarm at",
    "ended_at": "ended at",
    "direction": "scores",
    "parts": "after parts",
    "bank": "bank",
    "revision": "revision",
}


def drift(
    context: typer.Context,
    line: options.AnyLine = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Begin the watch anew: what there was is looked at and put right.")
    ] = False,
    why: options.Why = None,
    wait: options.Wait = 0.0,
    as_json: options.AsJson = False,
) -> None:
    """Show the drift watch of all lines, or of one with its alarms; or begin it anew, which the audit keeps.

    Nothing is ever calibrated anew by itself: `calibrate --replace` is how a new lot becomes what is good.
    """
    session: Session = context.obj
    if reset:
        if line is None:
            raise typer.BadParameter("name the line whose watch is to begin anew", param_hint="--line")
        show_one(begin_anew(session, session.assigned(line), why, wait_s=wait), as_json=as_json)
        return
    lines = [session.line(line)] if line is not None else list(session.settings.lines)
    rows = {each.id: _row(each.id, watch) for each, watch in zip(lines, _watches(session, lines), strict=True)}
    if line is None:
        show(list(rows.values()), columns=COLUMNS, as_json=as_json, empty="No line is configured.")
    else:
        _show_line(rows[line], as_json=as_json)


def begin_anew(session: Session, current: LineAssignment, why: str | None, *, wait_s: float) -> dict[str, Any]:
    """A new revision of the line with everything as it is: the audit says who, the running daemon starts over."""
    change = LineChange(
        line=current.line,
        product=current.product,
        bank_sha256=current.bank_sha256,
        thresholds=current.thresholds,
        who=operator(),
        action="drift",
        why=why,
        at=datetime.now(UTC),
    )
    written = session.records.assign(change, expected_revision=current.revision)
    return {**written.public(), "scores_since": announce(session, written, None, wait_s=wait_s)}


def _watches(session: Session, lines: list[Any]) -> list[dict[str, Any]]:
    """What the running daemon says of each line; without one, what its file kept (at most a minute old)."""
    status = (page(session, "statusz") or {}).get("lines", {})
    running = [status.get(str(line.id), {}).get("drift") for line in lines]
    if all(running):
        return running
    kept = read_drifts(session.state_dir / FILE)
    remark("No daemon answers: this is what the last one kept.")
    test_of = DriftOptions(**session.settings.drift.model_dump()).test
    return [public(kept.get(line.id), test_of(kept.get(line.id))) for line in lines]


def _row(line: int, watch: dict[str, Any]) -> dict[str, Any]:
    state = "watched" if watch["watched"] else f"not watched: {watch['why_not']}"
    if watch["alarm"]:
        state = f"ALARM since {watch['alarm']['at']}: scores are {watch['alarm']['direction']}"
    return {"line": line, "state": state, **watch}


def _show_line(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    alarms = ([row["alarm"]] if row["alarm"] else []) + row["history"]
    alarms = [{**alarm, "bank": alarm["bank_sha256"]} for alarm in alarms]
    told = {key: row[key] for key in (*COLUMNS, "smallest_shift", "revision")}
    show_one({**told, "evidence": f"{row['evidence'] or 0:.2f} of 1"}, as_json=False)
    show(alarms, columns=ALARMS, as_json=False, empty="There was no alarm.")
