"""Who holds a lock file, asked of the kernel: trying to take it could keep away a daemon that starts just then."""

from __future__ import annotations

import os
from pathlib import Path

LOCKS = Path("/proc/locks")
OUTBOX_LOCK = "outbox.lock"
"""In the state folder; the daemon that works on it holds it (daemon.outbox)."""


def holder(lock: Path) -> int | None:
    """The process that holds the lock file, None where nobody does; 0 for one whose id cannot be seen."""
    try:
        status = lock.stat()
        lines = LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    # "1: FLOCK  ADVISORY  WRITE 2387 08:01:1048592 0 EOF"; a line with "->" only waits for it
    for fields in (line.split() for line in lines):
        if fields[1] == "FLOCK" and fields[5] == wanted:
            return max(int(fields[4]), 0)
    return None
