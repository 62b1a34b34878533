"""The folder where an unfinished training lives: checkpoints, the token cache, a lock. Knows no torch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import TrainingError

LINEAR_CHECKPOINT = "linear.checkpoint"
WORDS_CHECKPOINT = "words.checkpoint"
WORDS_FILE = "words.safetensors"
TOKEN_CACHE = "tokens.cache"  # noqa: S105  (tokens of pictures)
LOCK = "lock"


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """The folder, made if need be, for this process alone while the context lasts.

    Raises TrainingError where another process is at work in it, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError as error:
        raise TrainingError(f"another training is at work in {folder}") from error
    finally:
        os.close(descriptor)


def is_begun(folder: Path) -> bool:
    """Whether a training was stopped in it."""
    return any((folder / name).exists() for name in (LINEAR_CHECKPOINT, WORDS_CHECKPOINT))


def forget(folder: Path, *, tokens: bool) -> None:
    """Remove the checkpoints, and the token cache if asked; then an empty folder goes too."""
    for name in (LINEAR_CHECKPOINT, WORDS_CHECKPOINT, WORDS_FILE, *([TOKEN_CACHE] if tokens else [])):
        (folder / name).unlink(missing_ok=True)
    if tokens and {entry.name for entry in folder.iterdir()} == {LOCK}:
        (folder / LOCK).unlink()
        folder.rmdir()
