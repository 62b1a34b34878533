"""The PUB socket: every verdict, as soon as it is durable. A slow subscriber misses some; SQL has them all."""

from __future__ import annotations

import zmq

from daemon.flow import Verdict
from daemon.wire_json import compact


class VerdictPublisher:
    """A bound PUB socket. Raises zmq.ZMQError if it cannot bind."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], bind: str) -> None:
        self._socket = context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 1000)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(bind)
        except zmq.ZMQError:
            self._socket.close()
            raise

    @property
    def endpoint(self) -> str:
        """Where it is bound, the port filled in."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def publish(self, verdict: Verdict) -> None:
        """Send `[verdict.<line>., JSON]`. Never blocks: a full subscriber's copy is dropped."""
        self._socket.send_multipart((b"verdict.%d." % verdict.line, compact(verdict.public())))

    def close(self, *, linger_ms: int = 0) -> None:
        """Close. linger_ms: how long the I/O thread may go on sending."""
        self._socket.close(linger_ms)
