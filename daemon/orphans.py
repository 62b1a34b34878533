"""Picture files that no verdict names: of answers that came too late, and of frames a killed life left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from daemon import heatmaps, kept_frames
from daemon.flow import Frame

log = logging.getLogger(__name__)

FOLDERS = (heatmaps.FOLDER, kept_frames.FOLDER)
DRAFT = ".tmp-"
"""How daemon.durable names a file that is not finished."""


def discard(state_dir: Path, relative: str) -> None:
    """Delete one picture file. A path that leads out of the pictures' folders is left alone; so is a failure."""
    path = PurePosixPath(relative)
    if path.parts[:1] not in {(folder,) for folder in FOLDERS} or ".." in path.parts:
        log.error("expected a path under one of %s, got %r; left alone", FOLDERS, relative)
        return
    try:
        (state_dir / path).unlink(missing_ok=True)
    except OSError as error:
        log.warning("an orphan picture stays: %s", error)


def sweep_pictures(state_dir: Path, left_behind: Sequence[Frame], *, today: date) -> None:
    """Delete the pictures that a killed worker wrote for frames whose verdict never became durable.

    Only their days are looked at: the folder of a busy month holds millions of files.
    """
    keys = {frame.key for frame in left_behind}
    days = {frame.received_at.date() + timedelta(days=after) for frame in left_behind for after in (0, 1)}
    try:
        sweep_orphans(
            state_dir,
            lambda path: unquote(PurePosixPath(path).stem) not in keys,
            days=frozenset(days | {today}),
        )
    except OSError as error:
        log.warning("orphan pictures stay: %s", error)


def sweep_orphans(state: Path, is_known: Callable[[str], bool], *, days: frozenset[date] | None = None) -> int:
    """Delete pictures that no verdict names, and unfinished ones; returns how many.

    is_known: whether a path relative to the state folder stands in a verdict. days: look at these only
    (an orphan is young: it was written just before the kill); None looks at all.
    """
    removed = 0
    for path in _files(state, days):
        if path.name.startswith(DRAFT) or not is_known(path.relative_to(state).as_posix()):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _files(state: Path, days: frozenset[date] | None) -> Iterator[Path]:
    wanted = None if days is None else {day.isoformat() for day in days}
    for root in FOLDERS:
        for folder in (state / root).glob("*/*"):
            if wanted is None or folder.name in wanted:
                yield from (path for path in folder.iterdir() if path.is_file())
