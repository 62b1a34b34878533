"""Files that are there whole or not at all, also after the power went."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

log = logging.getLogger(__name__)

DRAFT = ".tmp-"
"""How the name of a file begins that is not finished."""
ABANDONED_S = 3600.0
"""Nobody writes one file for so long: whoever began it was killed."""


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`: temporary file, fsync, rename, fsync of the folder. Creates missing folders.

    mode: the file's permissions.

    Raises OSError; what stood at `path` before is then untouched.
    """
    _make_folder(path.parent)
    descriptor, draft = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_drafts(folder: Path, *, older_than_s: float = ABANDONED_S) -> int:
    """Delete unfinished files under `folder` that a killed writer left; returns how many.

    Looks two folders deep, where banks and their pictures lie. What cannot be deleted stays, with a warning.
    """
    removed, oldest = 0, time.time() - older_than_s
    for depth in ("*", "*/*", "*/*/*"):
        for path in folder.glob(depth):
            if path.name.startswith(DRAFT):
                removed += _removed(path, oldest)
    return removed


def _removed(path: Path, oldest: float) -> bool:
    try:
        if path.is_file() and path.stat().st_mtime < oldest:
            path.unlink()
            return True
    except OSError as error:
        log.warning("an unfinished file stays: %s", error)
    return False


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
