"""SIGHUP: the settings are read anew, and taken over as a whole between two turns of the loop, or not at all.

Files are read in a thread of their own: a slow disk delays no frame.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

from daemon.clock import Clock
from daemon.live_settings import changed, needs_restart
from daemon.notify import Notifier
from daemon.observer import Observer
from daemon.settings import ConfigurationError, Settings
from daemon.stopping import StopFlag

log = logging.getLogger(__name__)


def flag_on_sighup(stop: StopFlag) -> threading.Event:
    """Set by every SIGHUP but that of a terminal which is gone: that one stops. Call it from the main thread."""
    asked = threading.Event()
    from_a_terminal = _has_terminal()

    def handle(number: int, frame: FrameType | None) -> None:
        if from_a_terminal and not _has_terminal():
            stop.request()
        else:
            asked.set()

    signal.signal(signal.SIGHUP, handle)
    return asked


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What became of one reload.

    result: "ok" | "invalid" | "needs_restart". detail: what changed, or what is wrong.
    """

    at: datetime
    result: str
    detail: str

    def public(self) -> dict[str, str]:
        """For /statusz."""
        return {"at": self.at.isoformat(), "result": self.result, "detail": self.detail}


class Reloader:
    """Holds the settings in force. `tend` belongs to the loop's thread, `settings` and `status` to any.

    asked: set when the settings are to be read. load: reads and checks them, raising ConfigurationError.
    followers: take new settings over, in this order; they must not fail.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        asked: threading.Event,
        load: Callable[[], Settings],
        notifier: Notifier,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._asked = asked
        self._load = load
        self._notifier = notifier
        self._observer = observer
        self._clock = clock
        self._loaded_at = clock.now()
        self._last: Reload | None = None
        self._reading: threading.Thread | None = None
        self._read: Settings | ConfigurationError | None = None
        self._followers: Sequence[Callable[[Settings], None]] = ()

    def followed_by(self, *followers: Callable[[Settings], None]) -> None:
        """Who takes new settings over."""
        self._followers = followers

    def status(self) -> Mapping[str, Any]:
        """Since when these settings are in force, and what became of the last SIGHUP."""
        return {
            "in_force_since": self._loaded_at.isoformat(),
            "last_reload": None if self._last is None else self._last.public(),
        }

    def tend(self) -> None:
        """Begin to read where that is asked for, take over what has been read. Never waits."""
        if self._reading is None:
            if self._asked.is_set():
                self._begin()
        elif not self._reading.is_alive():
            self._reading = None
            self._finish()

    def _begin(self) -> None:
        self._asked.clear()  # a SIGHUP from here on is for another reading
        self._notifier.reloading()
        self._read = None
        self._reading = threading.Thread(target=self._read_settings, name="reload", daemon=True)
        self._reading.start()

    def _read_settings(self) -> None:
        try:
            self._read = self._load()
        except ConfigurationError as error:
            self._read = error

    def _finish(self) -> None:
        self._last = self._take_over(self._read)
        self._observer.reloaded(self._last.result)
        self._notifier.reloaded(f"reload: {self._last.result}; {self._last.detail}")

    def _take_over(self, read: Settings | ConfigurationError | None) -> Reload:
        now = self._clock.now()
        if not isinstance(read, Settings):
            detail = "; ".join(str(read).splitlines())
            log.error("the settings stay as they were, the new ones cannot be used: %s", detail)
            return Reload(at=now, result="invalid", detail=detail)
        names = changed(self.settings, read)
        stuck = ", ".join(needs_restart(names))
        if stuck:
            log.error("the settings stay as they were, a restart is needed to change %s", stuck)
            return Reload(at=now, result="needs_restart", detail=f"a restart is needed to change {stuck}")
        self.settings, self._loaded_at = read, now
        for follow in self._followers:
            follow(read)
        detail = f"changed: {', '.join(names) or 'nothing'}"
        log.info("new settings are in force; %s", detail)
        return Reload(at=now, result="ok", detail=detail)
