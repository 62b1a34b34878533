"""Time as a parameter, so that deadlines and batching are tested without waiting."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock for deadlines and a wall clock for people. They are never mixed."""

    def monotonic_ns(self) -> int: ...

    def now(self) -> datetime: ...


class SystemClock:
    """The real clocks. `monotonic_ns` is CLOCK_MONOTONIC: comparable between processes of one machine."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def now(self) -> datetime:
        return datetime.now(UTC)
