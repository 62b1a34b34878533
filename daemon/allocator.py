"""glibc's allocator, told to keep what a forward pass frees.

By default every large tensor is a mapping of its own that goes back to the kernel when freed, and the next pass
pays for the same pages again: measured with `lite` on 2 cores, 50 ms a frame instead of 21 to 28 (note 0006).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""glibc refuses more on 64-bit machines."""
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Serve tensors up to 32 MiB from the heap and do not trim it; False where the C library has no mallopt.

    One heap for all threads, hence called before there are others: a thread's own gives back each 64 MiB that are
    free, whatever the threshold says.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), (M_TRIM_THRESHOLD, KEPT_BYTES))
    return all(mallopt(option, value) for option, value in options)
