"""Picture files from the command line to samples. Everything is read and decoded before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import core
from core.errors import ImageError
from daemon.admin.session import Refused

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""What counts as a picture in a folder. Those that cannot be read are refused, never passed over."""


def read_samples(paths: Iterable[Path]) -> list[core.Sample]:
    """Read files, and folders' picture files in order of name.

    Raises Refused, naming the file, for one that is missing or not a whole JPEG or PNG.
    """
    return [_read(file) for path in paths for file in picture_files(path)]


def picture_files(path: Path) -> list[Path]:
    """The file itself, or the folder's picture files. Raises Refused for a folder without any."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file())
    if not files:
        raise Refused(f"{path} holds no picture files (expected .jpg or .png)")
    return files


def _read(file: Path) -> core.Sample:
    try:
        return core.Sample.from_bytes(str(file), file.read_bytes())
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}") from error
    except ImageError as error:
        raise Refused(f"{file}: {error}") from error
