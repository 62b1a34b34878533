"""The ROUTER that cameras connect to: messages out of it, replies into it, and its monitor.

Knows no protocol above the route. A reply that cannot leave now is kept and tried again; one whose peer is
gone is counted and dropped.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.authorized_keys import Role
from daemon.curve import HANDSHAKE_S, SETTLED_S, Guard, leave_open
from daemon.id_probe import IdProbe
from daemon.observer import Observer

MAX_PART_BYTES = 128 * 1024 * 1024
"""libzmq disconnects a peer above this without a word; polite refusals begin far below."""
MAX_HELD_REPLIES = 4096
_EVENTS = {
    zmq.EVENT_ACCEPTED: "accepted",
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake_failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "handshake_failed",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "handshake_failed",
}
_OPTIONS = {
    zmq.RCVHWM: 4,
    zmq.SNDHWM: 4,
    zmq.MAXMSGSIZE: MAX_PART_BYTES,
    zmq.LINGER: 0,
    zmq.HEARTBEAT_IVL: 500,
    zmq.HEARTBEAT_TIMEOUT: 1500,
    zmq.HANDSHAKE_IVL: int(HANDSHAKE_S * 1000),
    zmq.ROUTER_MANDATORY: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """What a peer sent. parts: everything after its route, not copied. key: its public key, None without CURVE."""

    route: bytes
    parts: tuple[memoryview, ...]
    key: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.parts)


class CameraSocket:
    """A bound ROUTER with its monitor. guard: None without CURVE. Raises zmq.ZMQError if it cannot bind."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        bind: str,
        *,
        observer: Observer,
        guard: Guard | None = None,
    ) -> None:
        self._observer = observer
        self._secured = guard is not None
        self._accepted_at: dict[int, float] = {}
        self._watching = threading.Lock()
        self._held: dict[bytes, deque[bytes]] = {}
        self._held_count = 0
        self.socket = context.socket(zmq.ROUTER)
        for option, value in _OPTIONS.items():
            self.socket.setsockopt(option, value)
        if guard is None:
            leave_open(self.socket)
        else:
            guard.secure(self.socket, Role.CAMERA)
        self._monitor = self.socket.get_monitor_socket(sum(set(_EVENTS)))
        self.probe = IdProbe(context, self.socket)  # before the cameras' bind: theirs are the numbers after it
        try:
            self.socket.bind(bind)
        except zmq.ZMQError:
            self.close()
            raise

    @property
    def endpoint(self) -> str:
        """Where it is bound, the port filled in."""
        return self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def connections(self) -> int:
        """TCP connections now, handshakes under way included. Safe to call from any thread."""
        self.watch_connections()
        return len(self._accepted_at)

    def places_taken(self, let_in: int) -> int:
        """Places that cameras hold besides the connection that asks for one. Safe to call from any thread.

        let_in: how many were let in during the last SETTLED_S. Who is connected longer than that was let in. Of
        the younger ones no more than `let_in` were: the rest were refused, or never finish their handshake, and
        take nobody's place until libzmq closes them.
        """
        self.watch_connections()
        long_ago = time.monotonic() - SETTLED_S
        with self._watching:
            settled = sum(accepted_at < long_ago for accepted_at in self._accepted_at.values())
            younger = len(self._accepted_at) - settled - 1
        return settled + min(max(younger, 0), let_in)

    @property
    def held(self) -> int:
        """Replies that wait for room in their peer's queue."""
        return self._held_count

    def receive(self, *, limit: int, limit_bytes: int) -> list[Message]:
        """What lies in the queue now, without waiting: at most `limit` messages or about `limit_bytes`."""
        messages: list[Message] = []
        size = 0
        while len(messages) < limit and size < limit_bytes:
            try:
                route, *parts = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            key = _user_id(route) if self._secured else None
            messages.append(Message(route=route.bytes, parts=tuple(part.buffer for part in parts), key=key))
            size += messages[-1].size
        return messages

    def reply(self, route: bytes, body: bytes) -> None:
        """Send one reply behind the delimiter. Each request is answered once: a REQ peer takes no second."""
        if route in self._held or not self._send(route, body):
            self._hold(route, body)

    def tell(self, route: bytes, body: bytes) -> bool:
        """Say what nobody asked for; whether somebody is there to hear it."""
        try:
            self.socket.send_multipart((route, b"", body), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            return False
        return True

    def flush(self) -> None:
        """Try the held replies again, each peer's in order."""
        for route, bodies in list(self._held.items()):
            while bodies and self._send(route, bodies[0]):
                bodies.popleft()
                self._held_count -= 1
            if not bodies:
                del self._held[route]

    def watch_connections(self) -> None:
        """Pass what the monitor saw to the observer. Safe to call from any thread."""
        with self._watching:
            while self._monitor.poll(0):
                self._note_event(recv_monitor_message(self._monitor))

    def close(self, *, linger_ms: int = 0) -> None:
        """Close. linger_ms: how long the I/O thread may go on sending the last replies."""
        self.probe.close()
        self.socket.disable_monitor()
        self._monitor.close(0)
        self.socket.close(linger_ms)

    def _note_event(self, message: Mapping[str, Any]) -> None:
        event, descriptor = message["event"], message["value"]
        if event == zmq.EVENT_ACCEPTED:
            self._accepted_at[descriptor] = time.monotonic()
        elif event == zmq.EVENT_DISCONNECTED:
            self._accepted_at.pop(descriptor, None)
        if event in _EVENTS:
            self._observer.connection(_EVENTS[zmq.Event(event)])

    def _send(self, route: bytes, body: bytes) -> bool:
        """Whether the reply is off our hands: sent, or its peer gone."""
        parts: Sequence[bytes] = (route, b"", body)
        try:
            self.socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self._observer.connection("unreachable")
        return True

    def _hold(self, route: bytes, body: bytes) -> None:
        if self._held_count >= MAX_HELD_REPLIES:  # peers that send and never read; the outbox has their verdicts
            self._observer.connection("unreachable")
            return
        self._held.setdefault(route, deque()).append(body)
        self._held_count += 1


def _user_id(frame: zmq.Frame) -> str | None:
    """Whom the ZAP handler found behind this message; None is nobody, and gets nowhere."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None
