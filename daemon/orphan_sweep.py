"""Pictures that their part's row does not name: a kill came between the row and the file. In small steps.

A picture whose key has no row at all stays: it may be of another database than today's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from daemon import picture_rows
from daemon.database import Database
from daemon.durable import ABANDONED_S, DRAFT
from daemon.orphans import FOLDERS

STEP_FILES = 200


class OrphanSweep:
    """One pass over all pictures, day by day. Belongs to one thread. wall_s: Unix time."""

    def __init__(
        self,
        *,
        state: Path,
        database: Database,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._database = database
        self._wall_s = wall_s
        self._files: Iterator[Path] | None = None

    def step(self) -> tuple[int, bool]:
        """How many were deleted, and whether the pass has more to look at. Raises RecordsUnavailable."""
        if self._files is None:
            self._files = self._old_files()
        batch = list(islice(self._files, STEP_FILES))
        if not batch:
            self._files = None
        return sum(self._remove(path) for path in self._orphans(batch)), bool(batch)

    def _orphans(self, batch: list[Path]) -> list[Path]:
        drafts = [path for path in batch if path.name.startswith(DRAFT)]
        pictures = [path for path in batch if not path.name.startswith(DRAFT)]
        keys, paths = picture_rows.named(self._database, (unquote(path.stem) for path in pictures))
        with_row = [path for path in pictures if unquote(path.stem) in keys]
        return drafts + [path for path in with_row if path.relative_to(self._state).as_posix() not in paths]

    def _old_files(self) -> Iterator[Path]:
        """Files that nobody is about to name; and the days that are empty by now go."""
        for root in FOLDERS:
            for day in sorted((self._state / root).glob("*/*")):
                yield from (path for path in sorted(day.glob("*")) if self._is_old(path))
                if self._is_old(day) and not any(day.iterdir()):
                    day.rmdir()

    def _is_old(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime < self._wall_s() - ABANDONED_S
        except FileNotFoundError:
            return False

    def _remove(self, path: Path) -> bool:
        path.unlink(missing_ok=True)
        return True
