"""The state folder: its path, its owner, its room, and who works on it."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from daemon.admin.doctor.finding import Finding, Outcome
from daemon.admin.lock_holder import OUTBOX_LOCK, holder
from daemon.admin.running import page
from daemon.admin.session import Session
from daemon.setting_sections import StorageSettings
from daemon.state_folder import LONGEST_SOCKET_NAME, MAX_SOCKET_PATH
from daemon.storage import DiskLimits, DiskState, next_state

MOST_ENTRIES = 5_000
"""Looked at for strange owners: enough for everything but years of pictures."""


def check(session: Session) -> list[Finding]:
    """The state folder's findings."""
    folder = session.state_dir.resolve()
    return [
        _path(folder),
        _writable(folder),
        _room(folder, session.settings.storage),
        _owners(folder),
        _other_daemon(session, folder),
    ]


def _path(folder: Path) -> Finding:
    longest = len(os.fsencode(folder / "run" / LONGEST_SOCKET_NAME))
    if longest <= MAX_SOCKET_PATH:
        return Finding("state.path", "ok", f"{folder}: sockets fit below it")
    detail = f"{folder} is {longest - MAX_SOCKET_PATH} bytes too long for the sockets below it"
    return Finding("state.path", "configuration", detail, "set [state] dir to a shorter path")


def _writable(folder: Path) -> Finding:
    existing = _existing(folder)
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding("state", "ok", f"{existing} can be written to")
    who = f"{_name(os.geteuid())}; it belongs to {_name(existing.stat().st_uid)}"
    remedy = f"sudo aprilgan-admin doctor looks as the service's user; else sudo chown -R aprilgan: {folder}"
    if not existing.is_dir():
        remedy = f"{existing} is no folder: set another [state] dir, or move it away"
    return Finding("state", "configuration", f"{existing} cannot be written to by {who}", remedy)


def _room(folder: Path, storage: StorageSettings) -> Finding:
    usage = shutil.disk_usage(_existing(folder))
    return room(folder, usage.free, DiskLimits.of(storage, total_bytes=usage.total))


def room(folder: Path, free_bytes: int, limits: DiskLimits) -> Finding:
    """What so much free space means, by the limits that the daemon itself keeps. Pure."""
    state = next_state(DiskState.OK, free_bytes, limits)
    detail = f"{free_bytes / (1 << 30):.1f} GiB free for {folder}"
    if state is DiskState.OK:
        return Finding("disk", "ok", detail)
    outcome: Outcome = "note" if state is DiskState.LOW else "unavailable"
    remedy = "make room there (RUNBOOK.md, aprilgan-storage-low), or keep less: [retention], [heatmaps], [frames]"
    return Finding("disk", outcome, f"{detail}: {state}; pictures give way", remedy)


def _owners(folder: Path) -> Finding:
    """What a command created as root, the service's user cannot write."""
    if not folder.is_dir():
        return Finding("state.owner", "ok", f"{folder} is made at the first start")
    owner = folder.stat().st_uid
    strange = [path for path in islice(_entries(folder), MOST_ENTRIES) if _owner(path) not in (owner, None)]
    if not strange:
        return Finding("state.owner", "ok", f"everything belongs to {_name(owner)}")
    more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
    detail = f"{strange[0]}{more}: expected owner {_name(owner)}, got {_name(_owner(strange[0]) or 0)}"
    remedy = (
        f"sudo chown -R --reference={folder} {folder}; later commands with sudo aprilgan-admin, which changes user"
    )
    return Finding("state.owner", "configuration", detail, remedy)


def _other_daemon(session: Session, folder: Path) -> Finding:
    process = holder(folder / OUTBOX_LOCK)
    if process is None:
        return Finding("state.daemon", "ok", "no daemon works on the state folder")
    bind = session.settings.http.bind
    if page(session, "statusz") is not None:
        return Finding("state.daemon", "ok", f"process {process} works on the state folder and answers at {bind}")
    detail = f"process {process} works on {folder}, but does not answer at http.bind = {bind}"
    remedy = (
        f"one daemon a state folder: stop the other one (ps -fp {process}), or give each a [state] dir of its own"
    )
    return Finding("state.daemon", "unavailable", detail, remedy)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _entries(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        yield from (Path(where) / name for name in (*folders, *files))


def _owner(path: Path) -> int | None:
    """Its user id, None where it went in the meantime."""
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
