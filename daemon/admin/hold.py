"""`hold`: the pictures of these parts stay, whatever retention and the disk say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from daemon import picture_rows
from daemon.admin import options
from daemon.admin.output import remark, show
from daemon.admin.session import Refused, Session, operator

AUDIT = "holds.jsonl"
"""In the state folder: who held or released what, when and why."""
COLUMNS = {
    "decided_at": "decided at",
    "line": "line",
    "part": "part",
    "decision": "decision",
    "heatmap_path": "heatmap",
    "frame_path": "picture",
    "key": "key",
}


def hold(
    context: typer.Context,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Of the verdicts; none lists.", show_default=False)
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Let them go again.")] = False,
    why: options.Why = None,
    as_json: options.AsJson = False,
) -> None:
    """Keep the pictures of parts out of retention: for a claim, an audit, a talk with the supplier.

    Without KEY, list what is held.
    """
    session: Session = context.obj
    if keys:
        _change(session, keys, hold=not release, why=why)
    elif release or why:
        raise typer.BadParameter("name the verdicts' keys (see `verdicts`)", param_hint="KEY")
    rows = [
        {**row, "decided_at": row["decided_at"].isoformat()} for row in picture_rows.held(session.records.database)
    ]
    show(rows, columns=COLUMNS, as_json=as_json, empty="Nothing is held.")


def _change(session: Session, keys: Sequence[str], *, hold: bool, why: str | None) -> None:
    """All keys are looked up before the first is changed."""
    database = session.records.database
    known, _ = picture_rows.named(database, keys)
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise Refused(
            f"there is no verdict with the key {', '.join(map(repr, unknown))}; nothing was changed "
            f"(`aprilgan-admin verdicts` lists keys)"
        )
    for key in keys:
        row = picture_rows.set_hold(database, key, hold=hold)
        _note(session.state_dir, key, hold=hold, why=why)
        if hold and row is not None and not row.paths:
            remark(f"{key} is held, but it has no picture: none was kept, or retention had it already.")


def _note(state: Path, key: str, *, hold: bool, why: str | None) -> None:
    entry = {"at": datetime.now(UTC).isoformat(), "who": operator(), "key": key, "hold": hold, "why": why}
    state.mkdir(parents=True, exist_ok=True)
    with (state / AUDIT).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
