"""Exactly one reply to every request, in its sender's own protocol."""

from __future__ import annotations

from typing import Protocol

from daemon.flow import Refusal, RefusalReason, Verdict
from daemon.wire import Waiter, queued_reply, refusal_reply, verdict_reply


class ReplySocket(Protocol):
    """Takes one reply to the peer at `route`."""

    def reply(self, route: bytes, body: bytes) -> None: ...


class Replies:
    """What the loop says to senders. `promise` is kept by `keep_promises`, after the next commit."""

    def __init__(self, socket: ReplySocket) -> None:
        self._socket = socket
        self._promised: list[tuple[Waiter, str]] = []

    def verdict(self, waiter: Waiter, verdict: Verdict) -> None:
        """The verdict, being durable."""
        self._socket.reply(waiter.route, verdict_reply(waiter, verdict))

    def refusal(self, route: bytes, refusal: Refusal) -> None:
        """`ERR` or `BUSY`."""
        self._socket.reply(route, refusal_reply(refusal))

    def promise(self, waiter: Waiter, key: str) -> None:
        """Tell the sender "queued" once the frame's row is durable."""
        self._promised.append((waiter, key))

    def keep_promises(self) -> None:
        """Every row is durable now."""
        promised, self._promised = self._promised, []
        for waiter, key in promised:
            self._socket.reply(waiter.route, queued_reply(waiter, key))

    def take_back(self, key: str) -> list[Waiter]:
        """Whom "queued" was promised for a frame that did not become durable."""
        taken = [waiter for waiter, promised in self._promised if promised == key]
        self._promised = [promise for promise in self._promised if promise[1] != key]
        return taken

    def forget(self, route: bytes) -> None:
        """Whom "queued" was promised there has had an answer already."""
        self._promised = [promise for promise in self._promised if promise[0].route != route]

    def turn_away(self, waiters: list[Waiter], *, retry_after_ms: int) -> None:
        """The service ends and nothing became durable: `BUSY restart`, also to whom "queued" was promised."""
        waiters = waiters + [waiter for waiter, _ in self._promised]
        self._promised = []
        for waiter in waiters:
            refusal = Refusal(
                RefusalReason.BUSY,
                "restart",
                protocol=waiter.protocol,
                seq=waiter.seq,
                retry_after_ms=retry_after_ms,
            )
            self._socket.reply(waiter.route, refusal_reply(refusal))
