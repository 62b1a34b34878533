"""`keys`: who may connect when `ingest.security = "curve"`. A running daemon obeys each change at once.

Secret keys are written to files for their owner alone; what is printed is public.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.admin import options
from daemon.admin.output import remark, show, show_one
from daemon.admin.session import Refused, Session, operator
from daemon.authorized_keys import (
    AuthorizedKey,
    KeysUnreadable,
    Role,
    authorize,
    authorized_file,
    change_authorized,
    keys_folder,
    new_entry,
    read_authorized,
    revoke,
)
from daemon.key_files import SERVER, KeyFileError, checked_public, new_pair, read_public, write_pair
from daemon.settings import Settings

app = typer.Typer(
    help="Make, authorize, revoke and list the keys of cameras and subscribers.", no_args_is_help=True
)

COLUMNS = {
    "name": "name",
    "role": "role",
    "line": "line",
    "public_key": "public key",
    "added_at": "since",
    "added_by": "by",
}

Owner = Annotated[
    str, typer.Argument(metavar="NAME", parser=options.identifier, help="A configured camera, or a subscriber.")
]
IsSubscriber = Annotated[
    bool, typer.Option("--subscriber", help="NAME hears verdicts on publish.bind; it sends nothing.")
]


@app.command("new")
def new(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", parser=options.identifier, help="A configured camera, or a subscriber."),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="The server's own pair, into the state folder.")
    ] = False,
    subscriber: IsSubscriber = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where NAME.key and NAME.key_secret go.")
    ] = Path("."),
    as_json: options.AsJson = False,
) -> None:
    """Make a key pair: for a camera or subscriber, authorized from now on, or for the server."""
    session: Session = context.obj
    if (name is None) != server or (server and subscriber):
        raise typer.BadParameter("expected a NAME or --server, and not both")
    with _refusals():
        if name is None:
            made = _new_server_pair(session)
        else:
            made = _new_pair(session, name, _role(session.settings, name, subscriber=subscriber), out)
    show_one(made, as_json=as_json)


@app.command("authorize")
def authorize_key(
    context: typer.Context,
    name: Owner,
    key: Annotated[str, typer.Argument(metavar="FILE|KEY", help="NAME.key, or the public key itself.")],
    subscriber: IsSubscriber = False,
    as_json: options.AsJson = False,
) -> None:
    """Let in a public key that was made elsewhere, so that its secret never travels."""
    session: Session = context.obj
    role = _role(session.settings, name, subscriber=subscriber)
    with _refusals():
        entry = _authorize(session, name, role, _public_key(key))
    show_one(_row(session.settings, entry), as_json=as_json)


@app.command("revoke")
def revoke_keys(
    context: typer.Context,
    name: Owner,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FILE|KEY", help="Only this one of its public keys.")
    ] = None,
    subscriber: IsSubscriber = False,
    as_json: options.AsJson = False,
) -> None:
    """Take a camera's or subscriber's keys away, from connections that stand as well."""
    session: Session = context.obj
    role = Role.SUBSCRIBER if subscriber else Role.CAMERA
    path = authorized_file(session.state_dir)
    with _refusals():
        public = None if key is None else _public_key(key)
        before = read_authorized(path)
        after = change_authorized(path, lambda keys: revoke(keys, name, role, public))
    gone = [entry.public_key for entry in before.keys if after.owner(entry.public_key) is None]
    show_one({"name": name, "role": role.value, "revoked": gone}, as_json=as_json)


@app.command("list")
def list_keys(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the authorized public keys."""
    session: Session = context.obj
    with _refusals():
        keys = read_authorized(authorized_file(session.state_dir)).keys
    rows = [_row(session.settings, entry) for entry in sorted(keys, key=lambda entry: (entry.role, entry.name))]
    if session.settings.ingest.security == "none":
        remark('ingest.security = "none": the daemon asks nobody for a key.')
    show(rows, columns=COLUMNS, as_json=as_json, empty="No key is authorized.")


def _new_server_pair(session: Session) -> dict[str, Any]:
    folder = keys_folder(session.state_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pair = new_pair()
    public, secret = write_pair(folder, SERVER, pair)
    remark(
        "Give the public file to every camera and subscriber. A running daemon takes the pair at its next start."
    )
    return {"name": SERVER, "public_key": pair.public, "public_file": str(public), "secret_file": str(secret)}


def _new_pair(session: Session, name: str, role: Role, out: Path) -> dict[str, Any]:
    read_authorized(authorized_file(session.state_dir))  # nothing is written where nothing could be authorized
    if not out.is_dir():
        raise Refused(
            f"--out: expected a folder, got {out}; make one that is yours alone: install -d -m 700 {out}"
        )
    pair = new_pair()
    public, secret = write_pair(out, name, pair)
    entry = _authorize(session, name, role, pair.public)
    remark(f"{secret} goes to the {role} over a way you trust, and nowhere else.")
    files = {"public_file": str(public), "secret_file": str(secret)}
    return _row(session.settings, entry) | files


def _authorize(session: Session, name: str, role: Role, public_key: str) -> AuthorizedKey:
    """The entry as it stands now; an earlier one where this is no news."""
    entry = new_entry(name, role, public_key, at=datetime.now(UTC), by=operator())
    keys = change_authorized(authorized_file(session.state_dir), lambda keys: authorize(keys, entry))
    return keys.owner(public_key) or entry


def _role(settings: Settings, name: str, *, subscriber: bool) -> Role:
    if subscriber:
        return Role.SUBSCRIBER
    if settings.camera(name) is None:
        configured = ", ".join(camera.name for camera in settings.cameras) or "none"
        raise Refused(f"camera {name!r} is not in the settings; configured cameras: {configured}")
    return Role.CAMERA


def _public_key(text: str) -> str:
    """From a file where there is one of that name, else the key itself."""
    path = Path(text)
    return read_public(path) if path.is_file() else checked_public(text)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the key files and the authorized keys object to is the data's fault: exit code 1."""
    try:
        yield
    except (KeysUnreadable, KeyFileError, ValueError, FileNotFoundError, NotADirectoryError) as error:
        raise Refused(str(error)) from error


def _row(settings: Settings, entry: AuthorizedKey) -> dict[str, Any]:
    camera = settings.camera(entry.name) if entry.role is Role.CAMERA else None
    return {
        "name": entry.name,
        "role": entry.role.value,
        "line": camera.line if camera else None,
        "public_key": entry.public_key,
        "added_at": entry.added_at.isoformat(timespec="seconds"),
        "added_by": entry.added_by,
    }
