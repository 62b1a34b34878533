"""The state folder: made at the start, and refused where the daemon could not live in it."""

from __future__ import annotations

import os
from pathlib import Path

from daemon.settings import ConfigurationError

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket path (sun_path holds 108 with its final zero)."""
LONGEST_SOCKET_NAME = "frames-0-1000000.sock"


def prepare_state(state_dir: Path) -> None:
    """Make the state folder and its run folder. Raises ConfigurationError where that cannot be."""
    run_dir = state_dir.resolve() / "run"
    length = len(os.fsencode(run_dir / LONGEST_SOCKET_NAME))
    if length > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"state.dir: its path is {length - MAX_SOCKET_PATH} bytes too long for the sockets in {run_dir} "
            f"(a Unix socket path ends at {MAX_SOCKET_PATH} bytes)"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise ConfigurationError(f"state.dir: cannot create {run_dir}: {error.strerror}") from error
    for folder in (run_dir.parent, run_dir):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(f"state.dir: expected a folder that can be written, got {folder}")
