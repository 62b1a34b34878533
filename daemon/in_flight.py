"""The table of frames that ingress owns, from receipt until their verdict is durable.

Pure: it knows no socket and no clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

from daemon.flow import Frame, RawFrame, Verdict
from daemon.wire import Waiter


@dataclass(slots=True, kw_only=True, eq=False)
class Owned:
    """One frame in flight and everyone who waits for its verdict.

    raw: held until a worker has the frame. size: payload bytes, counted until the verdict is durable.
    verdict, decided_ns: set once it is decided; it leaves the table when that is durable.
    """

    frame: Frame
    size: int
    raw: RawFrame | None = None
    waiters: list[Waiter] = field(default_factory=list)
    verdict: Verdict | None = None
    decided_ns: int = 0


class InFlight:
    """Owned frames by key, with their deadlines in order. Every operation is O(log n) or better."""

    def __init__(self) -> None:
        self._owned: dict[str, Owned] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._by_line: Counter[int] = Counter()
        self._by_camera: Counter[str] = Counter()
        self._bytes_by_camera: Counter[str] = Counter()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._owned)

    @property
    def bytes_held(self) -> int:
        """Payload bytes of all frames in flight."""
        return self._bytes

    def held_by(self, camera: str) -> tuple[int, int]:
        """Frames in flight of one camera, and their payload bytes."""
        return self._by_camera[camera], self._bytes_by_camera[camera]

    def add(self, owned: Owned) -> None:
        """Own a frame. Raises ValueError if its key is in flight already."""
        key = owned.frame.key
        if key in self._owned:
            raise ValueError(f"frame {key!r} is in flight already")
        self._owned[key] = owned
        heapq.heappush(self._deadlines, (owned.frame.deadline_ns, key))
        self._count(owned, 1)

    def get(self, key: str) -> Owned | None:
        """The frame of that key, or None once it has left."""
        return self._owned.get(key)

    def settle(self, key: str) -> None:
        """Let a frame go, its verdict being durable. Raises KeyError if it is not in flight."""
        owned = self._owned.pop(key)
        self._count(owned, -1)
        self._forget_settled_deadlines()

    def next_deadline_ns(self) -> int | None:
        """The earliest deadline of a frame that is not decided, or None."""
        while self._deadlines:
            deadline_ns, key = self._deadlines[0]
            if self._awaits(deadline_ns, key):
                return deadline_ns
            heapq.heappop(self._deadlines)
        return None

    def expired(self, now_ns: int) -> list[Owned]:
        """Every undecided frame whose deadline has come, earliest first. Each is handed out once."""
        late: list[Owned] = []
        while (deadline_ns := self.next_deadline_ns()) is not None and deadline_ns <= now_ns:
            late.append(self._owned[heapq.heappop(self._deadlines)[1]])
        return late

    def waiting(self) -> list[Owned]:
        """Every undecided frame, in order of receipt."""
        return [owned for owned in self._owned.values() if owned.verdict is None]

    def take_waiters(self) -> list[Waiter]:
        """Everyone who still waits for a verdict, handed out once."""
        waiters: list[Waiter] = []
        for owned in self._owned.values():
            waiters += owned.waiters
            owned.waiters = []
        return waiters

    def forget_waiter(self, route: bytes) -> None:
        """Whoever waits there has had an answer already."""
        for owned in self._owned.values():
            owned.waiters = [waiter for waiter in owned.waiters if waiter.route != route]

    def count_by_line(self) -> dict[int, int]:
        """Frames in flight of every line that ever had one."""
        return dict(self._by_line)

    def _count(self, owned: Owned, by: int) -> None:
        identity = owned.frame.identity
        self._by_line[identity.line] += by
        self._by_camera[identity.camera] += by
        self._bytes_by_camera[identity.camera] += by * owned.size
        self._bytes += by * owned.size

    def _awaits(self, deadline_ns: int, key: str) -> bool:
        owned = self._owned.get(key)
        return owned is not None and owned.verdict is None and owned.frame.deadline_ns == deadline_ns

    def _forget_settled_deadlines(self) -> None:
        # settled frames leave their heap entry behind; with long deadlines those would pile up
        if len(self._deadlines) > 2 * len(self._owned) + 64:
            self._deadlines = [entry for entry in self._deadlines if self._awaits(*entry)]
            heapq.heapify(self._deadlines)
