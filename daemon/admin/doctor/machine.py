"""The machine: its clock, and how many files the running daemon may open."""

from __future__ import annotations

import ctypes
from pathlib import Path

from daemon.admin.doctor.finding import Finding
from daemon.admin.lock_holder import OUTBOX_LOCK, holder
from daemon.admin.session import Session

FEW_FILES = 4096
"""A camera takes a handle or two, SQLite a few; 1,024, a shell's default, end with 400 cameras."""
TIME_ERROR = 5
"""adjtimex(2): "the system clock is not synchronized to a reliable server"."""


def check(session: Session) -> list[Finding]:
    """The clock; the handles where a daemon runs."""
    process = holder(session.state_dir / OUTBOX_LOCK)
    files = [] if not process else _files(process)
    return [clock(_clock_state()), *files]


def clock(state: int) -> Finding:
    """What the kernel's clock state means. Pure."""
    if state == TIME_ERROR:
        remedy = (
            "timedatectl set-ntp true with a server that the plant reaches, or chrony; verdicts carry these times"
        )
        return Finding("clock", "note", "the clock is not synchronized", remedy)
    return Finding("clock", "ok", "the clock is synchronized" if state >= 0 else "the kernel does not tell")


def _clock_state() -> int:
    """adjtimex(2) asked and nothing set; -1 where the kernel refuses."""
    ask_only = ctypes.create_string_buffer(512)  # struct timex, 208 bytes on 64 bit; modes = 0 sets nothing
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(ask_only))


def _files(process: int) -> list[Finding]:
    try:
        limits = Path(f"/proc/{process}/limits").read_text(encoding="ascii")
    except OSError:
        return []  # another user's process, for whoever is not root
    soft = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    if soft == "unlimited" or int(soft) >= FEW_FILES:
        return [Finding("files", "ok", f"the daemon may open {soft} files")]
    remedy = "start it by its unit (LimitNOFILE=65536), or raise `ulimit -n` where it is started"
    return [Finding("files", "note", f"the daemon may open {soft} files; many cameras need more", remedy)]
