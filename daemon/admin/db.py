"""`db`: the revision of the SQL tables, and copies of SQLite. Existing databases are migrated here alone."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from daemon.admin import options
from daemon.admin.lock_holder import OUTBOX_LOCK, holder
from daemon.admin.output import remark, show_one
from daemon.admin.session import Refused, Session
from daemon.durable import sync_folder
from daemon.exit_codes import ExitCode

app = typer.Typer(help="Look at, migrate or copy the SQL tables.", no_args_is_help=True)


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


@app.command("downgrade")
def downgrade(
    context: typer.Context,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="As `db current` of the older program shows it.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Migrate the database back for an older program, in one transaction. Stop the daemon first."""
    session: Session = context.obj
    known = session.records.database.revisions()
    if revision not in known:
        raise Refused(f"expected one of the revisions {', '.join(known)}, got {revision!r}")
    _refuse_under_a_daemon(session)
    before = session.records.schema_state()
    session.records.downgrade(revision)
    after = session.records.schema_state()
    show_one(
        {"database": session.records.database.name, "from": before.current, "to": after.current}, as_json=as_json
    )


@app.command("backup")
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    as_json: options.AsJson = False,
) -> None:
    """Copy the SQLite database while everything runs; a server's is for its own tools (pg_dump)."""
    source = _sqlite_file(context.obj)
    if file.exists():
        raise Refused(f"{file} is there already; a backup is never overwritten")
    copy_database(source, file)
    show_one({"database": str(source), "backup": str(file), "bytes": file.stat().st_size}, as_json=as_json)


@app.command("restore")
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy that `db backup` made.")],
    as_json: options.AsJson = False,
) -> None:
    """Put a backup in the place of the SQLite database. What was recorded since is lost. Stop the daemon first."""
    session: Session = context.obj
    target = _sqlite_file(session)
    _refuse_under_a_daemon(session)
    if not file.is_file():
        raise Refused(f"expected a backup that `aprilgan-admin db backup` made, {file} is not there")
    copy_database(file, target)
    show_one({"database": str(target), "restored_from": str(file)}, as_json=as_json)


@app.command("current")
def current(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show the database's revision and the one this program needs."""
    session: Session = context.obj
    state = session.records.schema_state()
    database = session.records.database
    row = {
        "database": database.name,
        "file": None if database.file is None else str(database.file),
        "current": state.current,
        "head": state.head,
        "ok": state.ok,
    }
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


def copy_database(source: Path, target: Path) -> None:
    """An SQLite database with all that its log holds, whole and durable or not at all (SQLite's online backup).

    A target that is there is replaced, its log with it. Raises Refused for a source that is no whole database.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=target.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(draft)) as writing,
        ):
            reading.backup(writing)
            writing.execute("SELECT version_num FROM alembic_version").fetchone()
            if writing.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise Refused(f"{source} is damaged; nothing was changed")
            writing.execute("PRAGMA journal_mode = DELETE")  # one file holds everything
        for log in ("-wal", "-shm"):
            target.with_name(target.name + log).unlink(missing_ok=True)
        draft.replace(target)
        sync_folder(target.parent)
    except sqlite3.Error as error:
        raise Refused(f"{source} is no whole database of this program ({error}); nothing was changed") from error
    finally:
        draft.unlink(missing_ok=True)


def _sqlite_file(session: Session) -> Path:
    database = session.records.database
    if database.file is None:
        raise Refused(
            f"expected an SQLite database, the records are in {database.name}: use its own tools (pg_dump)"
        )
    return database.file


def _refuse_under_a_daemon(session: Session) -> None:
    process = holder(session.state_dir / OUTBOX_LOCK)
    if process is not None:
        raise Refused(
            f"a daemon (process {process}) works on {session.state_dir}: systemctl stop aprilgan-daemon first"
        )
