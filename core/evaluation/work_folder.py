"""Where an evaluation keeps the classes it has finished, and spools the one it has not. One run at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import DatasetError
from core.evaluation.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A finished class. key: of everything that its rows depend on."""

    key: str
    rows: tuple[Row, ...]


class WorkFolder:
    """`classes/NAME.json` and `NAME.png` of finished classes, `spool/` for maps. Build it with `work_folder`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._classes = root / "classes"
        self._spool = root / "spool"

    @property
    def free_bytes(self) -> int:
        """What its disk has room for."""
        return shutil.disk_usage(self.root).free

    def spool(self, name: str) -> Path:
        """An empty folder for one trial's maps."""
        path = self._spool / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def keep(self, object_class: str, kept: Kept, picture: bytes | None) -> None:
        """Store a finished class, whole or not at all. picture: its grid as a PNG file; None leaves it none."""
        self._record(object_class).unlink(missing_ok=True)
        self.picture(object_class).unlink(missing_ok=True)
        if picture is not None:
            _replace(self.picture(object_class), picture)
        record = {"key": kept.key, "rows": [row.as_json() for row in kept.rows]}
        _replace(self._record(object_class), json.dumps(record, allow_nan=False).encode())

    def kept(self, object_class: str) -> Kept | None:
        """A finished class; None where there is none, or none that can be read."""
        try:
            record = json.loads(self._record(object_class).read_bytes())
            return Kept(key=str(record["key"]), rows=tuple(Row.from_json(row) for row in record["rows"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def picture(self, object_class: str) -> Path:
        """Where the class's grid lies once it is kept."""
        return self._classes / f"{object_class}.png"

    def prepare(self) -> None:
        """Make the folders, without what an earlier run spooled and was killed over. Raises OSError."""
        self._classes.mkdir(parents=True, exist_ok=True)
        self.clear_spool()

    def clear_spool(self) -> None:
        """Free the disk."""
        shutil.rmtree(self._spool, ignore_errors=True)

    def _record(self, object_class: str) -> Path:
        return self._classes / f"{object_class}.json"


@contextmanager
def work_folder(root: Path) -> Iterator[WorkFolder]:
    """Open a folder, made where it is missing, for this run alone. Its spool is empty before and gone after.

    Raises DatasetError where another run has it open, OSError where it cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = WorkFolder(root)
    with (root / "lock").open("w", encoding="utf-8") as lock:
        _take(lock, root)  # let go by the system when the process ends, however it ends
        folder.prepare()
        try:
            yield folder
        finally:
            folder.clear_spool()


def _take(lock: IO[str], root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatasetError(
            f"{root}: another evaluation is at work here; give this one a folder of its own"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
