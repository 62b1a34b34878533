"""The PUB socket: every verdict, as soon as it is durable. A slow subscriber misses some; SQL has them all."""

from __future__ import annotations

import logging

import zmq

from daemon.authorized_keys import Role
from daemon.curve import Guard
from daemon.flow import Verdict
from daemon.wire_json import compact

log = logging.getLogger(__name__)

_OPTIONS = {
    zmq.SNDHWM: 1000,
    zmq.LINGER: 0,
    zmq.MAXMSGSIZE: 4096,  # what comes in are subscriptions
    zmq.HEARTBEAT_IVL: 5000,
    zmq.HEARTBEAT_TIMEOUT: 15_000,
    zmq.HANDSHAKE_IVL: 5000,
}


class VerdictPublisher:
    """A bound PUB socket. guard: None without CURVE. Raises zmq.ZMQError if it cannot bind.

    A connection's right is asked for when it is made, and nothing comes back from a subscriber to ask again:
    when a key is revoked the socket is closed and opened anew, and everyone shows his key again. Those who
    have one miss the verdicts of about 0.2 s.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        bind: str,
        *,
        guard: Guard | None = None,
    ) -> None:
        self._context = context
        self._guard = guard
        self._revocations = self._count_revocations()
        self._socket = self._new_socket()
        try:
            self._socket.bind(bind)
        except zmq.ZMQError:
            self._socket.close()
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._bound = True

    def publish(self, verdict: Verdict) -> None:
        """Send `[verdict.<line>., JSON]`. Never blocks: a full subscriber's copy is dropped."""
        self._socket.send_multipart((b"verdict.%d." % verdict.line, compact(verdict.public())))

    def check_keys(self) -> None:
        """Turn everyone out if a key was revoked since the last look; for every turn of the loop."""
        revocations = self._count_revocations()
        if revocations != self._revocations:
            self._revocations = revocations
            self._turn_everyone_out()
        if not self._bound:
            self._bind_again()

    def close(self, *, linger_ms: int = 0) -> None:
        """Close. linger_ms: how long the I/O thread may go on sending."""
        self._socket.close(linger_ms)

    def _count_revocations(self) -> int:
        return 0 if self._guard is None else self._guard.ring.dropped(Role.SUBSCRIBER)

    def _turn_everyone_out(self) -> None:
        log.info("a subscriber's key was revoked: every subscriber shows its key again")
        if self._bound:
            self._socket.unbind(self.endpoint)
        self._socket.close(0)
        self._socket = self._new_socket()
        self._bound = False

    def _bind_again(self) -> None:
        """libzmq closes the old listener a moment later, so this may take a turn or two."""
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            log.debug("%s is not free yet: %s", self.endpoint, error)
        else:
            self._bound = True

    def _new_socket(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PUB)
        for option, value in _OPTIONS.items():
            socket.setsockopt(option, value)
        if self._guard is not None:
            self._guard.secure(socket, Role.SUBSCRIBER)
        return socket
