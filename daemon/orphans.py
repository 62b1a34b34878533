"""Heatmap files that no verdict names: of answers that came too late, and of frames a killed life left."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from daemon.flow import Frame
from daemon.heatmaps import FOLDER, sweep_orphans

log = logging.getLogger(__name__)


def discard_heatmap(state_dir: Path, relative: str) -> None:
    """Delete one heatmap file. A path that leads out of the heatmap folder is left alone; so is a failure."""
    path = PurePosixPath(relative)
    if path.parts[:1] != (FOLDER,) or ".." in path.parts:
        log.error("expected a path under %s, got %r; left alone", FOLDER, relative)
        return
    try:
        (state_dir / path).unlink(missing_ok=True)
    except OSError as error:
        log.warning("an orphan heatmap stays: %s", error)


def sweep_heatmaps(state_dir: Path, left_behind: Sequence[Frame], *, today: date) -> None:
    """Delete the heatmaps that a killed worker wrote for frames whose verdict never became durable.

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
        log.warning("orphan heatmaps stay: %s", error)
