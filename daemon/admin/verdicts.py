"""`verdicts`: what was decided. A page of the list, one verdict in full, or all of them as they come."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from core.decide import Decision
from daemon import verdict_queries
from daemon.admin import options
from daemon.admin.output import remark, show, show_one
from daemon.admin.session import Refused, Session
from daemon.flow import Verdict
from daemon.verdict_queries import Place, Side, VerdictFilter

WATCHED_BEFORE = 10
"""How many earlier verdicts a watch begins with."""
LISTED = 100
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
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Only this one, in full.")] = None,
    line: options.AnyLine = None,
    decision: Annotated[Decision | None, typer.Option("--decision", help="Only these.")] = None,
    since: Annotated[
        timedelta | None,
        typer.Option("--since", metavar="8h", parser=options.duration, help="Only of the last so long."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, max=100_000, help="At most so many: 100, or 10 that a watch begins with."),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="KEY", help="The page of verdicts older than this one.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="The page of verdicts newer than this one.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with each verdict as it comes.")] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="NAME.key_secret", help="A subscriber's pair, to watch a daemon with CURVE."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List verdicts, newest first; show one; or watch them. With --watch --json, a line of JSON each."""
    session: Session = context.obj
    _check_usage(key, line=line, decision=decision, since=since, before=before, after=after, watch=watch)
    if key_file is not None and not watch:
        raise typer.BadParameter("it is for --watch", param_hint="--key")
    wanted = VerdictFilter(
        line=line, decision=decision, since=None if since is None else datetime.now(UTC) - since
    )
    if key is not None:
        _show_in_full(session, key, as_json=as_json)
    elif watch:
        from daemon.admin.watching import watch_verdicts  # pyzmq, for those who listen

        limit = WATCHED_BEFORE if limit is None else limit
        watch_verdicts(session, wanted, key_file=key_file, limit=limit, as_json=as_json)
    else:
        limit = LISTED if limit is None else limit
        _show_page(session, wanted, limit=limit, before=before, after=after, as_json=as_json)


def _check_usage(key: str | None, *, watch: bool, before: str | None, after: str | None, **filters: Any) -> None:
    if before is not None and after is not None:
        raise typer.BadParameter("expected --before or --after, not both")
    paged = before is not None or after is not None
    if key is not None and (watch or paged or any(value is not None for value in filters.values())):
        raise typer.BadParameter("expected a KEY alone, or options of the list")
    if watch and paged:
        raise typer.BadParameter("--watch shows what comes; --before and --after are for the list")


def _show_in_full(session: Session, key: str, *, as_json: bool) -> None:
    verdict = verdict_queries.find(session.records.database, key)
    if verdict is None:
        raise Refused(f"no verdict has the key {key!r}; `aprilgan-admin verdicts` lists the latest")
    show_one(in_full(verdict, session.state_dir), as_json=as_json)


def in_full(verdict: Verdict, state: Path) -> dict[str, Any]:
    """Every field. Pictures by their whole path, and whether they are still there."""
    fields: dict[str, Any] = {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
        for name, value in asdict(verdict).items()
    }
    for name in ("heatmap", "frame"):
        path = None if fields[name] is None else (state / fields[name]).resolve()
        fields[name] = None if path is None else str(path)
        fields[f"{name}_exists"] = path is not None and path.is_file()
    return fields


def _show_page(
    session: Session, wanted: VerdictFilter, *, limit: int, before: str | None, after: str | None, as_json: bool
) -> None:
    named = before or after
    place = None if named is None else _place(session, named)
    side = Side.OLDER if after is None else Side.NEWER
    found = verdict_queries.page(session.records.database, wanted, limit=limit, side=side, place=place)
    rows = [verdict.public() for verdict in found]
    if not as_json:  # nobody reads microseconds
        rows = [
            {**row, "decided_at": verdict.decided_at.isoformat(timespec="seconds")}
            for row, verdict in zip(rows, found, strict=True)
        ]
    show(rows, columns=COLUMNS, as_json=as_json, empty="No verdict matches.")
    if len(found) == limit and not as_json:
        option, edge = ("--before", found[-1]) if side is Side.OLDER else ("--after", found[0])
        remark(f"There may be more: {option} {edge.key}")


def _place(session: Session, key: str) -> Place:
    place = verdict_queries.place_of(session.records.database, key)
    if place is None:
        raise Refused(f"no verdict has the key {key!r}, so no page lies beside it")
    return place
