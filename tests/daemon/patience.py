"""Waiting for what another thread or process does: by looking, never by sleeping a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Look every 10 ms until the condition holds; fail after `timeout_s`."""
    end, pause = time.monotonic() + timeout_s, threading.Event()
    while not condition():
        assert time.monotonic() < end, f"the condition did not come true in {timeout_s} s"
        pause.wait(0.01)
