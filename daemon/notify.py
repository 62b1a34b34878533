"""systemd's notification protocol: datagrams to $NOTIFY_SOCKET, and when the watchdog may be petted."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Hashable, Mapping

log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager how we are; silent where there is none. Never raises, never blocks."""

    def __init__(self, address: str | None = None) -> None:
        """address: a socket path, "@name" for an abstract one; None reads $NOTIFY_SOCKET."""
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._started = False
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def ready(self, status: str) -> None:
        """Start-up is over: warm, self-tested and bound."""
        self._started = True
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

    def loading(self, text: str, *, more_s: float) -> None:
        """Still starting: the start timeout runs from now, `more_s` long."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(more_s * 1e6)}\nSTATUS={_one_line(text)}")

    def reloading(self) -> None:
        """The settings are being read anew; `reloaded` follows. During start-up nothing is said of it."""
        if self._started:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self, text: str) -> None:
        """Whatever became of the reload, it is over."""
        if self._started:
            self.ready(text)

    def watchdog(self) -> None:
        """Alive. Call it only when everything that must move has moved."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The drain begins."""
        self._send("STOPPING=1\nSTATUS=draining")

    def close(self) -> None:
        """Release the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("the service manager did not take %r: %s", state.split("\n")[0], error)


class ProgressGate:
    """Opens once every watched part has moved since the gate last opened.

    A part is anything with a mark that changes as it works: a turn counter, a heartbeat's number. A part
    that stands still keeps the gate shut, so the watchdog is not petted and systemd ends the corpse.
    """

    def __init__(self) -> None:
        self._passed: dict[str, Hashable] = {}

    def opens(self, marks: Mapping[str, Hashable]) -> bool:
        """Whether all marks differ from those at the last opening; the first time they do."""
        if any(name in self._passed and self._passed[name] == mark for name, mark in marks.items()):
            return False
        self._passed = dict(marks)
        return True

    def standing(self, marks: Mapping[str, Hashable]) -> list[str]:
        """Which parts have not moved since the gate last opened."""
        return sorted(name for name, mark in marks.items() if self._passed.get(name) == mark)


def watchdog_interval_s() -> float | None:
    """How often systemd wants to hear from this process, from $WATCHDOG_USEC; None: never."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1e6


def _one_line(text: str) -> str:
    return " ".join(text.split())
