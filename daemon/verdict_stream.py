"""The other end of the publish socket: verdicts as they are decided, and whether the daemon is there to send any.

libzmq connects again by itself when the daemon was restarted. What was published meanwhile is lost here, and a
slow reader misses some: SQL has them all, and whoever needs every verdict asks it as well (daemon.admin.watch).
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from types import TracebackType
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.native_sender import CurveKeys

_UP = zmq.EVENT_HANDSHAKE_SUCCEEDED
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_DOWN = zmq.EVENT_DISCONNECTED
_ANY_HOST = re.compile(r"^tcp://(\*|0\.0\.0\.0|\[::\]):")
_OPTIONS = {
    zmq.LINGER: 0,
    zmq.RCVHWM: 10_000,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
    zmq.HEARTBEAT_IVL: 1000,  # a machine that is gone says no goodbye
    zmq.HEARTBEAT_TIMEOUT: 3000,
    zmq.HANDSHAKE_IVL: 5000,
}


class Link(StrEnum):
    """How the stream stands with the daemon."""

    WAITING = "waiting"
    """Nobody answers: the daemon is not running, or is starting."""
    UP = "up"
    REFUSED = "refused"
    """Somebody answers and does not let us in: our key is not authorized, or one side speaks no CURVE."""


def local_endpoint(bind: str) -> str:
    """Where to connect on the same machine to what is bound there: every interface includes loopback."""
    return _ANY_HOST.sub("tcp://127.0.0.1:", bind)


class VerdictStream:
    """A SUB socket; a context manager. line: None hears every line. curve: None where no keys are asked for."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        connect: str,
        *,
        line: int | None = None,
        curve: CurveKeys | None = None,
    ) -> None:
        self.link = Link.WAITING
        self._socket = context.socket(zmq.SUB)
        for option, value in _OPTIONS.items():
            self._socket.setsockopt(option, value)
        if curve is not None:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret)
        self._socket.subscribe(b"verdict." if line is None else b"verdict.%d." % line)
        self._monitor = self._socket.get_monitor_socket(_UP | _REFUSED | _DOWN)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._socket.connect(connect)

    def __enter__(self) -> VerdictStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        """What came, as `Verdict.public` words it, after at most `timeout_s`. `link` is as of now afterwards."""
        self._poller.poll(int(timeout_s * 1000))
        while self._monitor.poll(0):
            self._note(recv_monitor_message(self._monitor)["event"])
        found: list[dict[str, Any]] = []
        while self._socket.poll(0) and len(found) < _OPTIONS[zmq.RCVHWM]:
            found += _read(self._socket.recv_multipart())
        return found

    def _note(self, event: int) -> None:
        if event == _UP:
            self.link = Link.UP
        elif event & _REFUSED:
            self.link = Link.REFUSED
        elif self.link is Link.UP:  # a refusal is followed by a disconnection that says nothing new
            self.link = Link.WAITING


def _read(parts: list[bytes]) -> list[dict[str, Any]]:
    """The verdict of a message; none of what is no verdict of this version, whoever sent it."""
    try:
        fields = json.loads(parts[-1])
    except ValueError:
        return []
    return (
        [fields]
        if isinstance(fields, dict) and fields.get("v") == 1 and isinstance(fields.get("key"), str)
        else []
    )
