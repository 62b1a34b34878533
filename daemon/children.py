"""Child processes that live and die with their parent.

A child ignores SIGTERM, SIGINT and SIGHUP: only the main process acts on them, so that signalling the whole group
drains cleanly. The kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG), so start
children from a thread that lives as long as the process. Each stays in its parent's process group.

`python -m daemon.children PARENT_PID PROGRAM ARG...` binds itself to its parent and then becomes PROGRAM:
for children that are not ours to change.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, NoReturn

from daemon.exit_codes import ExitCode

PR_SET_PDEATHSIG = 1
QUIET_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""What a group hears at a stop, a Ctrl-C, and the end of its terminal."""


def spawn(
    argv: Sequence[str], *, stdin: int = subprocess.DEVNULL, stdout: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a child of ours that the QUIET_SIGNALS do not reach.

    stdout: where its output goes, standard error as well; None inherits both. The signals are blocked
    around the start, not set to "ignore": a blocked mask survives exec and programs that install handlers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, QUIET_SIGNALS)
    try:
        return subprocess.Popen(
            list(argv), stdin=stdin, stdout=stdout, stderr=None if stdout is None else subprocess.STDOUT
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def bound_argv(program: Sequence[str]) -> list[str]:
    """The argument list that starts `program` bound to this process."""
    return [sys.executable, "-m", "daemon.children", str(os.getpid()), *program]


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends; exit at once if that has happened already.

    Raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died between fork and prctl: nobody will signal us any more
        raise SystemExit(ExitCode.UNAVAILABLE)


def end(process: subprocess.Popen[bytes], *, timeout_s: float) -> int:
    """Wait `timeout_s` for a child that was asked to end, then kill it. Returns its exit status."""
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the program named after the parent's pid."""
    if len(arguments) < 2 or not arguments[0].isdigit():
        print("usage: python -m daemon.children PARENT_PID PROGRAM [ARG]...", file=sys.stderr)
        raise SystemExit(ExitCode.USAGE)
    die_with_parent(int(arguments[0]))
    os.execv(arguments[1], list(arguments[1:]))  # noqa: S606  (no shell is what is wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
