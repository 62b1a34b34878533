"""A thread that looks once a second: do all threads live, are we ready, and what does systemd hear?

A thread that died makes the whole service stop in order (exit code 70): never a live-looking corpse. It is
handed callables and knows no ingress, worker or database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from daemon.notify import Notifier, ProgressGate
from daemon.observer import Observer
from daemon.readiness import Check
from daemon.stopping import StopFlag

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
STATUS_EVERY = 5
"""Looks between two STATUS lines."""
LOADING_EXTRA_S = 15.0
STARTED = ("serving", "worker")
"""Checks that must pass before READY=1. A line without a bank makes /readyz fail, not the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the caretaker looks at.

    threads: name -> whether it lives. checks: the readiness checks. marks: what must move for the watchdog
    to be petted (daemon.notify.ProgressGate). summary: one line for `systemctl status`.
    """

    threads: Mapping[str, Callable[[], bool]]
    checks: Callable[[], Mapping[str, Check]]
    marks: Callable[[], Mapping[str, Hashable]]
    summary: Callable[[], str]


class Caretaker(threading.Thread):
    """`start` it last, `stop` it first.

    stop: failed when a thread is dead; once set, STOPPING is told. start_patience_s: how long loading may go
    on asking systemd for more time.
    """

    def __init__(
        self,
        watched: Watched,
        *,
        stop: StopFlag,
        notifier: Notifier,
        observer: Observer,
        start_patience_s: float,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__(name="caretaker", daemon=True)
        self._watched = watched
        self._notifier = notifier
        self._observer = observer
        self._flag = stop
        self._every_s = every_s
        self._loading_looks = int(start_patience_s / every_s)
        self._looks = 0
        self._announced = False
        self._told_stopping = False
        self._gate = ProgressGate()

    def run(self) -> None:
        """Look until the service stops, and once more then."""
        while not self._flag.wait(self._every_s):
            self.look()
        self.look()

    def stop(self) -> None:
        """End the thread; whoever ends it ends the service."""
        self._flag.request()
        self.join()

    def look(self) -> None:
        """One look."""
        dead = [name for name, lives in self._watched.threads.items() if not lives()]
        if dead:
            self._flag.fail(f"thread {', '.join(dead)} died")
        checks = self._watched.checks()
        self._observer.ready(checks={name: check.ok for name, check in checks.items()})
        if self._flag.is_set():
            self._tell_stopping()
        else:
            self._tell(checks)
        self._looks += 1

    def _tell(self, checks: Mapping[str, Check]) -> None:
        failing = [f"{name}: {check.detail}" for name, check in checks.items() if not check.ok]
        text = f"not ready ({'; '.join(failing)})" if failing else self._watched.summary()
        if not self._announced and all(checks[name].ok for name in STARTED):
            self._announced = True
            log.info("started: %s", text)
            self._notifier.ready(text)
        elif self._looks % STATUS_EVERY == 0:
            self._status(text)
        if self._announced and self._gate.opens(self._watched.marks()):
            self._notifier.watchdog()

    def _tell_stopping(self) -> None:
        if not self._told_stopping:
            self._told_stopping = True
            self._notifier.stopping()

    def _status(self, text: str) -> None:
        if not self._announced and self._looks < self._loading_looks:
            self._notifier.loading(text, more_s=LOADING_EXTRA_S)
        else:
            self._notifier.status(text)
