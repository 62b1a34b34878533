"""Learns which number libzmq gives the next peer of a ROUTER: by connecting to it, from inside the process.

Over inproc, where neither a handshake nor CURVE stands in the way. What is used of libzmq is not documented;
tests/daemon/test_id_probe.py guards it on the pinned version.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import zmq


class IdProbe:
    """One knock at a time at `router`. Create it before `router` is bound for others: it knocks at once."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], router: zmq.Socket[bytes]) -> None:
        self._context = context
        self._word = secrets.token_bytes(16)
        self._door = f"inproc://probe-{secrets.token_hex(8)}"
        self._socket: zmq.Socket[bytes] | None = None
        router.bind(self._door)
        self.knock()

    def knock(self) -> None:
        """Connect anew and say the word; what comes of it is a message for `answered`."""
        self.close()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(self._door)
        self._socket.send_multipart((b"", self._word))

    def answered(self, parts: Sequence[memoryview]) -> bool:
        """Whether a message is our knock (its route bears the number); the connection has done its work then."""
        if len(parts) != 2 or parts[1] != self._word:
            return False
        self.close()
        return True

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
