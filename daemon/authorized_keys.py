"""Whose keys come in: one small JSON file, replaced as a whole, and the live view that the daemon has of it.

It holds public keys only. It is a file and not a table because it must be readable while SQL is down. A file
that is not there authorizes nobody; one that cannot be read lets nobody new in (`KeyRing.fault`), while those
whose right was read before keep it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError, model_validator

from daemon.durable import write_durably
from daemon.key_files import checked_public
from daemon.setting_sections import Name

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 1024 * 1024


class KeysUnreadable(Exception):
    """The file of authorized keys cannot be read or is damaged; the message says which and why."""


class Role(StrEnum):
    """What a key opens: sending frames as one camera, or hearing verdicts."""

    CAMERA = "camera"
    SUBSCRIBER = "subscriber"


class AuthorizedKey(BaseModel):
    """One key and what it may do. name: the camera it is bound to, or what a person calls the subscriber."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    role: Role
    public_key: Annotated[str, AfterValidator(checked_public)]
    added_at: AwareDatetime
    added_by: str


class AuthorizedKeys(BaseModel):
    """The file's content. A public key stands in it once: it has one owner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    keys: tuple[AuthorizedKey, ...] = ()

    @model_validator(mode="after")
    def _one_owner(self) -> AuthorizedKeys:
        twice = [key for key, count in Counter(entry.public_key for entry in self.keys).items() if count > 1]
        if twice:
            raise ValueError(f"the public key {twice[0]} is given twice")
        return self

    def owner(self, public_key: str) -> AuthorizedKey | None:
        """Whose key it is."""
        return next((entry for entry in self.keys if entry.public_key == public_key), None)


def keys_folder(state_dir: Path) -> Path:
    """Where the server's pair and the authorized keys lie."""
    return state_dir / "keys"


def authorized_file(state_dir: Path) -> Path:
    """The file of authorized keys."""
    return keys_folder(state_dir) / "authorized.json"


def read_authorized(path: Path) -> AuthorizedKeys:
    """The authorized keys, none where there is no file. Raises KeysUnreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return AuthorizedKeys()
    except OSError as error:
        raise KeysUnreadable(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise KeysUnreadable(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
    try:
        return AuthorizedKeys.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise KeysUnreadable(f"{path} is damaged: {where + ': ' if where else ''}{first['msg']}") from error


def change_authorized(path: Path, change: Callable[[AuthorizedKeys], AuthorizedKeys]) -> AuthorizedKeys:
    """Replace the file by what `change` makes of it; two commands at once happen one after the other.

    Raises KeysUnreadable (a damaged file is not mended by guessing), OSError, and what `change` raises.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.parent / "lock"):
        changed = change(read_authorized(path))
        write_durably(path, changed.model_dump_json(indent=1).encode("utf-8"), mode=0o600)
    return changed


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_Signature = tuple[int, int, int, int] | None
"""What changes with the file: inode, size, mtime, ctime in ns; None while there is none."""
_NEVER_SEEN = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The file as last seen. fault: why its newest content cannot be used; `owners` are then older."""

    signature: _Signature
    owners: dict[str, tuple[Role, str]]
    fault: str | None = None


class KeyRing:
    """The authorized keys as of now: every question looks whether the file changed. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._dropped: Counter[Role] = Counter()
        self._view = _View(signature=_NEVER_SEEN, owners={})

    @property
    def fault(self) -> str | None:
        """Why nobody new comes in, None while the file can be read."""
        return self._look().fault

    def admits(self, public_key: str, role: Role) -> bool:
        """Whether a new connection with this key comes in. Never while the file is unreadable."""
        view = self._look()
        return view.fault is None and view.owners.get(public_key, (None, ""))[0] == role

    def holder(self, public_key: str | None, role: Role) -> str | None:
        """The name that a live connection's key is bound to, None when it has no right (any more)."""
        found, name = self._look().owners.get(public_key or "", (None, ""))
        return name if found == role else None

    def count(self, role: Role) -> int:
        """How many keys have this role."""
        return sum(found == role for found, _ in self._look().owners.values())

    def dropped(self, role: Role) -> int:
        """Counts up with every change that took a key of this role away."""
        self._look()
        return self._dropped[role]

    def _look(self) -> _View:
        with self._lock:
            try:
                signature = _signature(self._path)
            except OSError as error:
                return self._doubt(_NEVER_SEEN, f"{self._path} cannot be read: {error.strerror}")
            if signature != self._view.signature:
                self._reload(signature)
            return self._view

    def _reload(self, signature: _Signature) -> None:
        try:
            keys = read_authorized(self._path)
        except KeysUnreadable as error:
            self._doubt(signature, str(error))
            return
        before, owners = self._view, {key.public_key: (key.role, key.name) for key in keys.keys}
        self._dropped.update({right[0] for key, right in before.owners.items() if owners.get(key) != right})
        self._view = _View(signature=signature, owners=owners)
        log.info("%d keys are authorized", len(owners))

    def _doubt(self, signature: _Signature, why: str) -> _View:
        if self._view.fault != why:
            log.error("nobody new comes in: %s", why)
        self._view = _View(signature=signature, owners=self._view.owners, fault=why)
        return self._view


def _signature(path: Path) -> _Signature:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def authorize(keys: AuthorizedKeys, entry: AuthorizedKey) -> AuthorizedKeys:
    """With this key; unchanged where it has this right already. Raises ValueError when it is another's. Pure."""
    owner = keys.owner(entry.public_key)
    if owner is None:
        return AuthorizedKeys(keys=(*keys.keys, entry))
    if (owner.name, owner.role) != (entry.name, entry.role):
        raise ValueError(f"this key belongs to {owner.role} {owner.name}; a key has one owner: make another")
    return keys


def revoke(keys: AuthorizedKeys, name: str, role: Role, public_key: str | None = None) -> AuthorizedKeys:
    """Without this name's keys, or without one of them. Raises ValueError where there is none. Pure."""
    gone = [
        entry
        for entry in keys.keys
        if (entry.name, entry.role) == (name, role) and public_key in (None, entry.public_key)
    ]
    if not gone:
        raise ValueError(f"{role} {name} has no such key" if public_key else f"{role} {name} has no key")
    return AuthorizedKeys(keys=tuple(entry for entry in keys.keys if entry not in gone))


def new_entry(name: str, role: Role, public_key: str, *, at: datetime, by: str) -> AuthorizedKey:
    """An entry. Raises ValueError for a name or key that is none."""
    return AuthorizedKey(name=name, role=role, public_key=public_key, added_at=at, added_by=by)
