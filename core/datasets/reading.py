"""Files of a data set to arrays. What cannot be read is a DatasetError that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.datasets.items import TestItem
from core.datasets.mask_squash import squash_mask
from core.errors import DatasetError, ImageError
from core.image import Image, ImageHeader, decode_image, read_header

Mask: TypeAlias = npt.NDArray[np.bool_]

_HEAD_BYTES = 1 << 16


def read_image(path: Path) -> Image:
    """A whole JPEG or PNG as (H, W, 3) uint8 RGB. Raises DatasetError."""
    with _naming(path):
        return decode_image(path.read_bytes())


def read_mask(item: TestItem, size: int) -> Mask:
    """The item's mask at the size of a map, (size, size), true where the defect is; all false for a good picture.

    Squashed as the reference code does it: any pixel that is not 0 is defect (VisA's hold the kind's index),
    bilinear with antialias to a square as Pillow resizes, then where more than half is defect. A defect of less
    than about half a squashed pixel leaves nothing: its picture stays anomalous, but no pixel of it does.

    Raises DatasetError.
    """
    if item.mask is None:
        return np.zeros((size, size), dtype=np.bool_)
    return squash_mask(read_full_mask(item.mask), size)


def read_full_mask(path: Path) -> Mask:
    """The mask as it is in the file, (H, W). Raises DatasetError for what is no PNG of at most 8 bits a channel.

    No JPEG: its ringing makes nothing quite black. No 16 bits: conversion to 8 would blacken small indices.
    """
    with _naming(path):
        data = path.read_bytes()
        header = read_header(data)
        if header.format != "png" or header.bit_depth > 8:
            kind = f"{header.bit_depth}-bit {header.format.upper()}"
            raise ImageError(f"expected a mask in PNG of at most 8 bits a channel, got a {kind}")
        red, green, blue = np.moveaxis(decode_image(data), 2, 0)
        return np.asarray((red | green | blue) != 0)  # ten times as fast as any(axis=2)


def read_size(path: Path) -> tuple[int, int]:
    """A picture's (height, width) from its header, without decoding it. Raises DatasetError."""
    with _naming(path):
        header = _header(path)
        return header.height, header.width


def _header(path: Path) -> ImageHeader:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        try:
            return read_header(head)
        except ImageError:  # a JPEG may carry more than that of profiles and previews before its size
            return read_header(head + file.read())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise DatasetError(f"{path}: {error}") from error
