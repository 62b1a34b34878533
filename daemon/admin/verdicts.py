"""`verdicts`: what was decided, from SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from core.decide import Decision
from daemon.admin import options
from daemon.admin.output import show
from daemon.admin.session import Session

COLUMNS = {
    "decided_at": "decided at",
    "line": "line",
    "camera": "camera",
    "part": "part",
    "decision": "decision",
    "reason": "reason",
    "score": "score",
    "threshold": "threshold",
    "p_value": "p",
    "product": "product",
    "bank": "bank",
    "total_ms": "ms",
    "key": "key",
}


def verdicts(
    context: typer.Context,
    line: options.AnyLine = None,
    decision: Annotated[Decision | None, typer.Option("--decision", help="Only these.")] = None,
    since: Annotated[
        timedelta | None,
        typer.Option("--since", metavar="8h", parser=options.duration, help="Only of the last so long."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    as_json: options.AsJson = False,
) -> None:
    """List verdicts, newest first."""
    session: Session = context.obj
    found = session.records.verdicts(
        line=line,
        decision=decision,
        since=None if since is None else datetime.now(UTC) - since,
        limit=limit,
    )
    show([verdict.public() for verdict in found], columns=COLUMNS, as_json=as_json, empty="No verdict matches.")
