"""How many threads one operation is computed with on a CPU."""

from __future__ import annotations

import torch


def compute_threads() -> int:
    """Threads that an operation of this thread is shared out to: by default as many as there are cores."""
    return torch.get_num_threads()


def compute_with(threads: int) -> None:
    """From here on share operations of this thread, and of threads that have not computed yet, out to so many.

    Each thread that computes must say it for itself: OpenMP keeps the number a thread. Raises ValueError below 1.
    """
    if threads < 1:
        raise ValueError(f"expected at least 1 thread to compute with, got {threads}")
    torch.set_num_threads(threads)
