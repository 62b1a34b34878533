"""The thread that keeps the disk usable: looks at the free space, and deletes pictures by retention's rules.

It works in steps of a few milliseconds with pauses between them, and waits for nobody but SQL and the disk.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from daemon.clock import Clock
from daemon.database import RecordsUnavailable
from daemon.observer import Observer
from daemon.orphan_sweep import OrphanSweep
from daemon.retention import Retention, class_bytes
from daemon.settings import Settings
from daemon.storage import DiskLimits, DiskState, giving_way, next_state

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
STEP_PAUSE_S = 0.05
"""Between two steps of work: with steps of about 5 ms a tenth of one core at the most."""
SWEEP_EVERY_LOOKS = 1800
"""About an hour."""


class Storekeeper(threading.Thread):
    """`start`, then `state` and `status` from any thread; `stop` ends it. settings: may be replaced at any time.

    A hold in another process counts at once: it is SQL that is asked.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        state_dir: Path,
        retention: Retention,
        sweep: OrphanSweep,
        observer: Observer,
        clock: Clock,
        every_s: float = LOOK_EVERY_S,
        pause_s: float = STEP_PAUSE_S,
    ) -> None:
        super().__init__(name="storekeeper", daemon=True)
        self.settings = settings
        self._state_dir = state_dir
        self._retention = retention
        self._sweep = sweep
        self._observer = observer
        self._clock = clock
        self._every_s = every_s
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._looks = 0
        self._sweeping = True
        self.state = DiskState.OK

    def run(self) -> None:
        """Until stopped."""
        while not self._ended.is_set():
            busy = self.look()
            self._ended.wait(self._pause_s if busy else self._every_s)

    def stop(self, timeout_s: float) -> None:
        """End the thread; one that waits for a hanging database is left behind."""
        self._ended.set()
        if self.is_alive():
            self.join(timeout_s)

    def status(self) -> dict[str, Any]:
        """For /statusz."""
        return {"state": self.state.value, "picture_bytes": class_bytes(self._retention.held_bytes)}

    def look(self) -> bool:
        """One look and one step of work; whether there is more to do."""
        self._looks += 1
        try:
            self._judge()
            return self._work()
        except RecordsUnavailable as error:
            log.debug("retention waits for SQL: %s", error)
        except OSError as error:
            log.warning("retention: %s", error)
        return False

    def _judge(self) -> None:
        room = os.statvfs(self._state_dir)
        limits = DiskLimits.of(self.settings.storage, total_bytes=room.f_blocks * room.f_frsize)
        free = room.f_bavail * room.f_frsize
        now = next_state(self.state, free, limits)
        if now is not self.state:
            level = logging.INFO if now is DiskState.OK else logging.WARNING
            log.log(level, "the disk is %s (was %s): %d MiB free", now, self.state, free >> 20)
            self.state = now
        self._observer.storage(state=now.value)

    def _work(self) -> bool:
        counting = self._retention.count()
        deleting = self._retention.step(
            self.settings.retention, now=self._clock.now(), giving_way=giving_way(self.state)
        )
        self._observer.picture_bytes(class_bytes(self._retention.held_bytes))
        return self._sweep_some() or counting or deleting

    def _sweep_some(self) -> bool:
        if self._looks % SWEEP_EVERY_LOOKS == 0:
            self._sweeping = True
        if not self._sweeping:
            return False
        removed, self._sweeping = self._sweep.step()
        if removed:
            self._observer.retention_deleted("orphan", removed)
        return self._sweeping
