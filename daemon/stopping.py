"""Why and when to stop: one flag that signal handlers and dying threads set and the loop reads."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from daemon.exit_codes import ExitCode

log = logging.getLogger(__name__)


class StopFlag:
    """Unset while the service runs. The first reason to fail decides the exit code."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = ExitCode.OK

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a reason to stop; whether there is one."""
        return self._event.wait(timeout_s)

    def request(self) -> None:
        """Stop in order and exit 0."""
        self._event.set()

    def fail(self, why: str, exit_code: ExitCode = ExitCode.SOFTWARE) -> None:
        """Stop in order, and say by the exit code that something was wrong."""
        if self.exit_code is ExitCode.OK:
            log.critical("stopping (exit code %d): %s", exit_code, why)
            self.exit_code = exit_code
        self._event.set()


def stop_on_signals(stop: StopFlag) -> None:
    """SIGTERM and SIGINT set the flag and do nothing else. Call it from the main thread."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.request()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def stop_on_a_dying_thread(stop: StopFlag) -> None:
    """A thread that raises ends the service: what it did is no longer done, and nobody would notice."""

    def handle(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "a thread"
        if args.exc_value is not None:
            log.critical("%s died", name, exc_info=args.exc_value)
        stop.fail(f"{name} died of {args.exc_type.__name__}")

    threading.excepthook = handle
