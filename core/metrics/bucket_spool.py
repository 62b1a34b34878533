"""Pixel scores on disk, grouped so that one narrow range of scores can be read back without the others.

A float32 score becomes an order key, a uint32 that sorts as the score does. Its upper half is the *bucket*:
65,536 of them, 128 to a power of two. Its lower half is the *place* in the bucket, so 65,536 counters hold a
bucket's exact histogram, however many pixels fall into it. Places are spooled, their order tells the bucket.

Knows neither good from defective nor any figure.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

BUCKETS = PLACES = 1 << 16
PLACE_BITS = 16

CHUNK = 1 << 20
"""Items read back at a time."""

_SIGN = np.uint32(1 << 31)

Keys = npt.NDArray[np.uint32]


def order_keys(scores: npt.NDArray[np.float32]) -> Keys:
    """uint32 keys, shaped as the finite float32 scores, that compare as they do; -0.0 and 0.0 have one key."""
    bits = (scores + np.float32(0.0)).view(np.uint32)  # -0.0 + 0.0 is 0.0
    flip = (bits.view(np.int32) >> 31).view(np.uint32)  # all ones for a negative score, else none
    flip |= _SIGN
    bits ^= flip
    return bits


class BucketSpool:
    """Items with an order key, in a file without a name in `folder`: gone when closed, or when the process dies.

    Items wait in memory until there are `block` of them, are then grouped by bucket and written, behind the
    65,537 positions where the groups start. Memory: `block` times (4 bytes + twice the item), and for the time of
    grouping as much again; disk: the items and 256 KiB a block. The number of items does not matter, but for
    an integer a block.

    dtype: of an item. Raises OSError where the folder is missing or full.
    """

    def __init__(self, folder: Path, dtype: npt.DTypeLike, *, block: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open for the object's life
        self._buckets = np.empty(block, dtype=np.int32)
        self._items: npt.NDArray[Any] = np.empty(block, dtype=dtype)
        self._held = 0
        self._blocks: list[int] = []
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
        """Items a bucket, without those that a `flush` has yet to write."""

    def append(self, keys: Keys, items: npt.NDArray[Any]) -> None:
        """Add items (n,) under their order keys (n,)."""
        done = 0
        while done < len(keys):
            taken = min(len(keys) - done, len(self._items) - self._held)
            place = slice(self._held, self._held + taken)
            np.right_shift(keys[done : done + taken], PLACE_BITS, out=self._buckets[place].view(np.uint32))
            self._items[place] = items[done : done + taken]
            done += taken
            self._held += taken
            if self._held == len(self._items):
                self.flush()

    def flush(self) -> None:
        """Write what waits in memory, so that `counts` and `read` know of it."""
        if not self._held:
            return
        starts, grouped = _grouped(self._buckets[: self._held], self._items[: self._held])
        self.counts += np.diff(starts)
        self._blocks.append(self._file.seek(0, os.SEEK_END))
        self._file.write(starts.data)
        self._file.write(grouped.data)
        self._file.flush()
        self._held = 0

    def read(self, bucket: int) -> Iterator[npt.NDArray[Any]]:
        """The flushed items of a bucket, in arrays of at most CHUNK that hold until the next one is asked for."""
        chunk = np.empty(min(CHUNK, int(self.counts[bucket])), dtype=self._items.dtype)
        held = 0
        for offset, count in self._groups(bucket):
            done = 0
            while done < count:
                taken = min(count - done, len(chunk) - held)
                self._read_into(chunk[held : held + taken], offset + done * chunk.itemsize)
                done += taken
                held += taken
                if held == len(chunk):
                    yield chunk
                    held = 0
        if held:
            yield chunk[:held]

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _groups(self, bucket: int) -> Iterator[tuple[int, int]]:
        """(offset in the file, items) of the bucket's group in every block that has one."""
        ends = np.empty(2, dtype=np.int32)
        for block in self._blocks:
            self._read_into(ends, block + bucket * ends.itemsize)
            start, stop = ends.tolist()
            if start < stop:
                items = block + (BUCKETS + 1) * ends.itemsize
                yield items + start * self._items.itemsize, stop - start

    def _read_into(self, array: npt.NDArray[Any], offset: int) -> None:
        if os.preadv(self._file.fileno(), [array.data], offset) != array.nbytes:
            raise OSError(f"expected {array.nbytes} bytes at {offset} of a spool file, got fewer")


def _grouped(
    buckets: npt.NDArray[np.int32], items: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Where each bucket's group starts, (BUCKETS + 1,), and the items in the order of their buckets.

    One matrix row from compressed rows to compressed columns is a counting sort in C: 5 ns an item, where sorting
    takes numpy 6 to 40 (docs/notes/0008-metrics.md).
    """
    row = csr_array((items, buckets, np.array([0, len(items)], dtype=np.int32)), shape=(1, BUCKETS))
    columns = row.tocsc()
    return np.asarray(columns.indptr, dtype=np.int32), np.asarray(columns.data)
