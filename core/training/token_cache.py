"""The frozen tower's tokens of whole pictures, kept on disk between epochs and between runs.

One file: a head that names what the rows are of, then one row a picture, empty until the picture was first
encoded. Rows hold the bits that the tower gave, in its own precision, so training with and without the cache
gives the same layers. A row is believed only while its checksum holds, the file only while its head does;
anything else is made again.

Stitches are drawn anew in every epoch and are not kept: they are encoded where they are drawn.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.training.work_folder import TOKEN_CACHE

log = logging.getLogger(__name__)

MAGIC = b"AGTC"
HEAD_BYTES = 32
SPARE_BYTES = 1 << 30
"""Of free disk, left to everyone else."""


class TokenCache:
    """Rows of equal length by number. Threads may read while one writes another row."""

    def __init__(self, descriptor: int, row_bytes: int) -> None:
        self._descriptor = descriptor
        self._row_bytes = row_bytes

    def get(self, row: int) -> bytes | None:
        """The row as it was put, None where it never was or is damaged."""
        data = os.pread(self._descriptor, self._stride, self._place(row))
        seal, content = data[: len(MAGIC) + 4], data[len(MAGIC) + 4 :]
        return content if len(data) == self._stride and seal == _seal(row, content) else None

    def put(self, row: int, content: bytes) -> None:
        """Keep a row. Raises OSError."""
        os.pwrite(self._descriptor, _seal(row, content) + content, self._place(row))

    def close(self) -> None:
        """Close the file, which stays."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _stride(self) -> int:
        return len(MAGIC) + 4 + self._row_bytes

    def _place(self, row: int) -> int:
        return HEAD_BYTES + row * self._stride


def open_token_cache(folder: Path, identity: Mapping[str, Any], *, rows: int, row_bytes: int) -> TokenCache | None:
    """The cache of `folder`; a new one where there is none, or one of another identity. None: no room for it.

    identity: JSON values that decide every row: the encoder, its precision, the data, their order.
    The whole file is reserved at once, so a disk that fills up later cannot stop the training.
    """
    head = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).digest()
    path, size = folder / TOKEN_CACHE, HEAD_BYTES + rows * (len(MAGIC) + 4 + row_bytes)
    if not _is_ours(path, head, size):
        path.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        if free < size + SPARE_BYTES:
            log.warning(
                "no token cache, every epoch encodes every picture again: it would take %.1f GB of the %.1f GB "
                "that are free in %s, and 1 GB is left alone", size / 1e9, free / 1e9, folder,
            )  # fmt: skip
            return None
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, size)
        os.pwrite(descriptor, head, 0)
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        log.warning("no token cache, every epoch encodes every picture again: %s: %s", path, error.strerror)
        return None
    return TokenCache(descriptor, row_bytes)


def _is_ours(path: Path, head: bytes, size: int) -> bool:
    try:
        with path.open("rb") as file:
            return path.stat().st_size == size and file.read(HEAD_BYTES) == head
    except OSError:
        return False


def _seal(row: int, content: bytes) -> bytes:
    """What stands before a row; an empty row, or one that belongs elsewhere, does not have it."""
    return MAGIC + zlib.crc32(content, row).to_bytes(4, "little")
