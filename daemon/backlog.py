"""Tells the observer once a second what waits for SQL: more often would only cost the loop."""

from __future__ import annotations

from daemon.clock import Clock
from daemon.observer import Observer
from daemon.outbox import Outbox, OutboxUnavailable

EVERY_NS = 1_000_000_000


class BacklogReport:
    """Call `report` every turn."""

    def __init__(self, *, outbox: Outbox, observer: Observer, clock: Clock) -> None:
        self._outbox = outbox
        self._observer = observer
        self._clock = clock
        self._next_ns = clock.monotonic_ns()

    def report(self) -> None:
        """Report if it is time."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + EVERY_NS
        try:
            backlog = self._outbox.backlog()
        except OutboxUnavailable:
            self._observer.dependency_error("outbox")
            return
        waited_s = (self._clock.now() - backlog.oldest).total_seconds() if backlog.oldest else 0.0
        # the wall clock may have been set back meanwhile
        self._observer.outbox(rows=backlog.rows, bytes_used=backlog.bytes_used, oldest_age_s=max(0.0, waited_s))
