"""Frees stock senders that wait for an answer which died with the last life of the daemon.

imagezmq's senders hang for ever then (imagezmq #1, #18, #35, #49). Who may be one is decided in
daemon.silent_peers; here are the socket and the clock. Everything else goes by untouched.
"""

from __future__ import annotations

import logging

from daemon.camera_socket import CameraSocket, Message
from daemon.clock import Clock
from daemon.flow import Protocol
from daemon.observer import Observer
from daemon.silent_peers import Doubts, SilentPeers
from daemon.wire import protocol_of

log = logging.getLogger(__name__)

RESTARTED = b"RESTARTED"
LOOK_FOR_NS = 120 * 1_000_000_000
"""Senders come back within RECONNECT_IVL (0.1 s), after a cut network within TCP's longest pause (64 s)."""
PROBE_EVERY_NS = 500_000_000
FOREVER_NS = 2**63


class Freeing:
    """Stands between the loop and the socket's replies; `tend` it every turn."""

    def __init__(self, socket: CameraSocket, *, observer: Observer, clock: Clock) -> None:
        self._socket = socket
        self._observer = observer
        self._clock = clock
        self._silent = SilentPeers()
        self._doubts = Doubts()
        now_ns = clock.monotonic_ns()
        self._look_until_ns = now_ns + LOOK_FOR_NS
        self._probe_at_ns = now_ns + PROBE_EVERY_NS

    def takes(self, message: Message) -> bool:
        """Whether the message is our own probe's, and nobody else's business."""
        if not self._socket.probe.answered(message.parts):
            return False
        self._silent.probed(message.route, self._clock.monotonic_ns())
        return True

    def heard(self, message: Message) -> bool:
        """A sender spoke: whether its earlier request was answered RESTARTED, and must get no other answer."""
        self._silent.spoke(message.route)
        if protocol_of(message.parts) is Protocol.NATIVE:  # its replies bear numbers
            self._doubts.end(message.route)
        return self._doubts.heard(message.route)

    def reply(self, route: bytes, body: bytes) -> None:
        """Send one reply, or keep it while it is in doubt."""
        if not self._doubts.keeps(route, body):
            self._socket.reply(route, body)

    def tend(self) -> None:
        """Probe, free who is due, let go of what was kept."""
        now_ns = self._clock.monotonic_ns()
        if self._probe_at_ns <= now_ns < self._look_until_ns:
            self._probe_at_ns = now_ns + PROBE_EVERY_NS
            self._socket.probe.knock()
        self._free(self._silent.take_due(now_ns), now_ns)
        self._release(now_ns)

    def stop(self) -> None:
        """No more of it: the service ends, and answers everyone."""
        self._look_until_ns = 0
        self._silent = SilentPeers()
        self._release(FOREVER_NS)
        self._doubts = Doubts()

    def _free(self, routes: list[bytes], now_ns: int) -> None:
        told = [route for route in routes if self._socket.tell(route, RESTARTED)]
        for route in told:
            self._doubts.begin(route, now_ns)
            self._observer.connection("told_restart")
        if told:
            log.info("%d silent connections were told RESTARTED, should they wait for an earlier life", len(told))

    def _release(self, now_ns: int) -> None:
        for route, body in self._doubts.take_over(now_ns):
            self._socket.reply(route, body)
