"""Which connections of a fresh ROUTER may be stock senders that still wait for the life before. Pure.

A stock sender (REQ) whose answer died with the daemon connects again by itself and waits for ever. It sends
nothing, so nobody knows its route; but libzmq numbers the peers that bring no id of their own, one after the
other (routes of b"\\0" and 4 bytes, big-endian), and daemon.id_probe learns where the counter stands. Whoever
lies between two probes and says nothing for QUIET_NS may wait, or be idle: an idle REQ drops what it did not
ask for, so both are told RESTARTED, once. `Doubts` is about the one that was neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

QUIET_NS = 1_000_000_000
"""A camera that is neither idle nor waiting sends within this time of its connection."""
DOUBT_NS = 1_000_000_000
"""Longer than a frame is on its way: 64 MiB take 0.6 s on gigabit Ethernet."""
MOST = 4096
"""Connections that are looked at between two probes; the ones before them go without."""
_NUMBERS = 2**32


class SilentPeers:
    """Says whom to free. Times in ns of the monotonic clock."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._spoke: set[bytes] = set()
        self._silent_since: dict[bytes, int] = {}

    def probed(self, route: bytes, now_ns: int) -> None:
        """Our own connection got this route: whoever lies between it and the last one has connected since.

        The first is made before the socket is bound, so that nobody lies before it.
        """
        number = _number_of(route)
        if number is None:
            raise ValueError(f"expected a route that libzmq made up, got {route!r}")
        for other in () if self._last is None else _between(self._last, number):
            if other not in self._spoke:
                self._silent_since[other] = now_ns
        self._last = number
        self._spoke.clear()

    def spoke(self, route: bytes) -> None:
        """A message came from there: it waits for nothing that an earlier life owed it."""
        if self._silent_since.pop(route, None) is None and len(self._spoke) < MOST:
            self._spoke.add(route)

    def take_due(self, now_ns: int) -> list[bytes]:
        """Who has been silent for long enough; each is handed out once."""
        due = [route for route, since_ns in self._silent_since.items() if now_ns - since_ns >= QUIET_NS]
        for route in due:
            del self._silent_since[route]
        return due


@dataclass(slots=True)
class _Doubt:
    until_ns: int
    asked: bool = False
    kept: bytes | None = None


class Doubts:
    """Keeps replies and requests in step where RESTARTED met a request on its way.

    Such a sender takes RESTARTED for the answer to its frame, and would take that frame's verdict for the answer
    to its next one, and so on for ever. So the first reply after RESTARTED is kept until DOUBT_NS are over: a
    second request before shows that the first has had its answer. One that waited or was idle hears it later.
    """

    def __init__(self) -> None:
        self._doubts: dict[bytes, _Doubt] = {}

    def begin(self, route: bytes, now_ns: int) -> None:
        """RESTARTED was sent there."""
        self._doubts[route] = _Doubt(until_ns=now_ns + DOUBT_NS)

    def heard(self, route: bytes) -> bool:
        """A request came: whether the one before it has had its answer, and must get no other."""
        doubt = self._doubts.get(route)
        if doubt is None:
            return False
        if doubt.asked:
            del self._doubts[route]
            return True
        doubt.asked = True
        return False

    def end(self, route: bytes) -> None:
        """Its replies say what they answer: nothing need be kept."""
        self._doubts.pop(route, None)

    def keeps(self, route: bytes, body: bytes) -> bool:
        """Whether this reply waits until the doubt is over."""
        doubt = self._doubts.get(route)
        if doubt is None:
            return False
        doubt.kept = body
        return True

    def take_over(self, now_ns: int) -> list[tuple[bytes, bytes]]:
        """The kept replies, (route, body), whose doubt is over."""
        over = [(route, doubt) for route, doubt in self._doubts.items() if doubt.until_ns <= now_ns]
        for route, _ in over:
            del self._doubts[route]
        return [(route, doubt.kept) for route, doubt in over if doubt.kept is not None]


def _number_of(route: bytes) -> int | None:
    """The number that libzmq gave, None for a route that its peer chose."""
    return int.from_bytes(route[1:], "big") if len(route) == 5 and route[0] == 0 else None


def _between(first: int, last: int) -> Iterator[bytes]:
    """The routes after `first` and before `last`; the counter starts anywhere and wraps around."""
    count = min((last - first) % _NUMBERS - 1, MOST)
    for number in range(last - count, last):
        yield b"\0" + (number % _NUMBERS).to_bytes(4, "big")
