"""`report`: one self-contained HTML file about a line and a window of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from daemon.admin import options
from daemon.admin.output import progress, remark, show_one
from daemon.admin.session import Refused, Session, Unavailable, operator
from daemon.durable import write_durably

DEFAULT_WINDOW = timedelta(hours=8)


def moment(text: str) -> datetime:
    """ "8h" (so long ago) or "2026-11-22T06:00" (local time unless it names a zone); else a usage error."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.now().astimezone() - options.duration(text)
    except (typer.BadParameter, OverflowError) as error:
        raise typer.BadParameter(
            f"expected a duration like 30m, 8h or 7d, or a time like 2026-11-22T06:00, got {text!r}"
        ) from error


def report(
    context: typer.Context,
    line: options.Line,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since", metavar="8h|TIME", parser=moment, help="So long ago, or a time; default: 8h before the end."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", metavar="1h|TIME", parser=moment, help="Until when; default: now."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: report-line-N-TIME.html, here.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a report on a line as one HTML file: counts, scores, worst parts, drift, latency, changes."""
    from daemon.report.content import gather  # numpy, OpenCV and Jinja, which other commands do without
    from daemon.report.page import render
    from daemon.report.window import Window

    session: Session = context.obj
    now = datetime.now().astimezone()
    end = until or now
    start = since or end - DEFAULT_WINDOW
    if not start < end:
        raise typer.BadParameter(f"expected --since before --until, got {start:%F %T} and {end:%F %T}")
    _check_known(session, line)
    with progress() as tell:
        found = gather(
            session.records,
            session.state_dir,
            line=line,
            line_settings=session.settings.line(line),
            window=Window(start=start, end=end),
            tell=tell,
        )
    path = out or Path(f"report-line-{line}-{end:%Y-%m-%dT%H%M}.html")
    _write(path, render(found, made_at=now, made_by=operator()))
    if not found.parts:
        remark(f"No verdict of line {line} lies between {start:%F %T} and {end:%F %T}; the report says so.")
    fields = {"report": str(path), "line": line, "from": start.isoformat(timespec="seconds")}
    fields["until"] = end.isoformat(timespec="seconds")
    show_one({**fields, "parts": found.parts, **found.decisions}, as_json=as_json)


def _check_known(session: Session, line: int) -> None:
    """A line may have left the settings and still have verdicts. Raises Refused for one that never was."""
    if session.settings.line(line) is None and not session.records.changes(line):
        session.line(line)


def _write(path: Path, html: str) -> None:
    if not path.parent.is_dir():
        raise Refused(f"cannot write {path}: there is no folder {path.parent}")
    try:
        write_durably(path, html.encode("utf-8"))
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error
