"""`db`: the revision of the SQL tables. An existing database is migrated here and nowhere else."""

from __future__ import annotations

import typer

from daemon.admin import options
from daemon.admin.output import remark, show_one
from daemon.admin.session import Session
from daemon.exit_codes import ExitCode

app = typer.Typer(help="Look at or migrate the SQL tables.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Migrate the database to this program's revision, in one transaction."""
    session: Session = context.obj
    before = session.records.schema_state()
    session.records.upgrade()
    after = session.records.schema_state()
    show_one(
        {"database": session.records.database.name, "from": before.current, "to": after.current}, as_json=as_json
    )


@app.command("current")
def current(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show the database's revision and the one this program needs."""
    session: Session = context.obj
    state = session.records.schema_state()
    row = {"database": session.records.database.name, "current": state.current, "head": state.head, "ok": state.ok}
    show_one(row, as_json=as_json)


@app.command("check")
def check(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Compare revision and tables with what this program needs; exit code 69 where they differ."""
    session: Session = context.obj
    state = session.records.schema_state()
    differences = session.records.database.differences()
    row = {"current": state.current, "head": state.head, "differences": differences}
    show_one({**row, "ok": state.ok and not differences}, as_json=as_json)
    if not state.ok:
        remark("Run `aprilgan-admin db upgrade`.")
    if not state.ok or differences:
        raise typer.Exit(ExitCode.UNAVAILABLE)
