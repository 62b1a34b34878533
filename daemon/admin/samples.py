"""Picture files from the command line to samples. Everything is read and decoded before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import core
from core.datasets.listing import PICTURE_SUFFIXES
from core.errors import ImageError
from core.image import ImageHeader, read_header
from daemon.admin.session import Refused

_CHANNELS = {1: "grey", 2: "grey with alpha", 3: "colour", 4: "colour with alpha"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture file, and the sample that it decodes to.

    doubt: what speaks against it, for a sentence that begins with its name; None for nothing.
    """

    path: Path
    sample: core.Sample
    doubt: str | None = None


def read_samples(paths: Iterable[Path]) -> list[core.Sample]:
    """Read files, and folders' picture files in order of name.

    Raises Refused, naming the file, for one that is missing or not a whole JPEG or PNG.
    """
    return [_read(file, _take_any).sample for path in paths for file in picture_files(path)]


def read_references(paths: Iterable[Path], *, grey: bool = False) -> list[core.Sample]:
    """The samples of `read_pictures`."""
    return [picture.sample for picture in read_pictures(paths, grey=grey)]


def read_pictures(paths: Iterable[Path], *, grey: bool = False) -> list[Picture]:
    """Read pictures of good parts for a bank or its calibration: 8-bit colour without alpha, or grey if told so.

    A frame of another kind is converted, but a reference of another kind is likely to be a wrong file, and would
    teach the bank how conversions look. Raises Refused as `read_samples` does.
    """
    check = partial(_check_reference, grey=grey)
    return [_read(file, check) for path in paths for file in picture_files(path)]


def picture_files(path: Path) -> list[Path]:
    """The file itself, or the folder's picture files. Raises Refused for a folder without any."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file())
    if not files:
        raise Refused(f"{path} holds no picture files (expected .jpg or .png)")
    return files


def read_frame(file: Path, name: str) -> Picture:
    """Read a frame of a line, of whatever kind its camera sends, under a name of its own. Raises Refused."""
    return _read(file, _take_any, name)


def _read(file: Path, check: Callable[[ImageHeader], None], name: str | None = None) -> Picture:
    try:
        data = file.read_bytes()
        check(read_header(data))
        return Picture(path=file, sample=core.Sample.from_bytes(name or str(file), data))
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}") from error
    except ImageError as error:
        raise Refused(f"{file}: {error}") from error


def _take_any(header: ImageHeader) -> None:
    """Whatever can be decoded."""


def _check_reference(header: ImageHeader, *, grey: bool) -> None:
    if header.bit_depth > 8 or header.channels not in ((1, 3) if grey else (3,)):
        expected = "8-bit colour or grey" if grey else "8-bit colour"
        came = f"{header.bit_depth}-bit {_CHANNELS[header.channels]}"
        raise ImageError(f"a reference must be {expected} without alpha, this is {came}")
