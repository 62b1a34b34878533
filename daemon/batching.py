"""When a batch closes and which frames are in it. Pure: time comes in as a number, nothing waits here.

Earliest deadline first, with a quota a line. Lines take turns in rounds: within a round a line may
place `max_size // (lines waiting)` frames (at least one), and a round outlives a batch, so that one
greedy camera cannot starve another even where a batch holds a single frame.

A frame that can no longer be answered in time comes out as expired and costs no computing. Without
that rule an overload makes every frame miss: the one with the least time left would always go first,
and always end late.

Knows nothing of pixels, banks, threads or the GPU; `daemon.batch_queue` puts the threads around it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Generic, Protocol, TypeVar

MILLISECOND = 1_000_000

ANSWER_NS = 10 * MILLISECOND
"""From the end of a batch to the durable verdict: heatmap, the way back to ingress, the outbox commit."""

SPARE_NS = 10 * MILLISECOND
"""A batch closes this long before its most urgent frame becomes hopeless, so that waking late loses none."""

DEADLINE_SHARE = 4
"""A batch size is chosen by measurement only where it takes at most this part of the shortest deadline."""

NEARLY_BEST = 0.85
"""The smallest size that reaches this share of the best throughput wins: every frame of a batch waits for all of
it, and so does a neighbour's that comes meanwhile. A smaller gain is not worth twice the latency, and on a shared
machine it is mostly noise."""

STILL_GROWING = 0.95
"""A size that falls below this share of the best so far is the last that is tried."""


class CloseReason(StrEnum):
    """Why a batch closed; the values of the metrics label `reason`."""

    FULL = "full"
    DEADLINE = "deadline"
    DELAY = "delay"
    IDLE = "idle"


class Waiting(Protocol):
    """What the policy sees of a frame. Times in ns of the monotonic clock."""

    @property
    def line(self) -> int: ...

    @property
    def deadline_ns(self) -> int: ...

    @property
    def queued_ns(self) -> int: ...


F = TypeVar("F", bound=Waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Generic[F]):
    """What to do now: a closed batch, or none (then look again at `wake_ns`).

    expired: frames that can no longer be answered in time, with or without a batch.
    """

    batch: tuple[F, ...] = ()
    reason: CloseReason | None = None
    expired: tuple[F, ...] = ()
    wake_ns: int | None = None


def buckets_up_to(max_size: int) -> tuple[int, ...]:
    """The batch sizes that are warmed and measured: 1, 2, 4, ... and `max_size` itself."""
    sizes = [1]
    while sizes[-1] * 2 <= max_size:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes) if sizes[-1] == max_size else (*sizes, max_size)


BUCKETS = buckets_up_to(16)


def buckets_for(max_size: int) -> tuple[int, ...]:
    """The same for a setting: 0 lets measurement choose among 1 to 16."""
    return buckets_up_to(max_size) if max_size else BUCKETS


def bucket_for(size: int, buckets: tuple[int, ...]) -> int:
    """The smallest bucket that holds `size` frames (the largest of all where none does)."""
    return next((bucket for bucket in buckets if bucket >= size), buckets[-1])


def choose_max_size(batch_ns: Mapping[int, int], *, shortest_deadline_ns: int) -> int:
    """The batch size that measurement recommends.

    batch_ns: bucket -> how long one such batch takes, in ns. On a CPU small batches win, on a GPU large
    ones; a batch never takes more than a quarter of the shortest deadline, unless even one frame does.
    """
    allowed = {size: ns for size, ns in batch_ns.items() if ns * DEADLINE_SHARE <= shortest_deadline_ns}
    if not allowed:
        return min(batch_ns)
    best = max(size / ns for size, ns in allowed.items())
    return min(size for size, ns in allowed.items() if size / ns >= NEARLY_BEST * best)


def worth_growing(batch_ns: Mapping[int, int], *, shortest_deadline_ns: int) -> bool:
    """Whether sizes beyond the largest measured one may be chosen: it was in time, and as good as the best."""
    size, ns = list(batch_ns.items())[-1]
    best = max(size / ns for size, ns in batch_ns.items())
    return ns * DEADLINE_SHARE <= shortest_deadline_ns and size / ns >= STILL_GROWING * best


class BatchTimes:
    """How long batches took, by bucket: the last 32 of each."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[int]] = {}

    def observe(self, bucket: int, took_ns: int) -> None:
        """Note that a batch of this bucket took `took_ns`."""
        self._seen.setdefault(bucket, deque(maxlen=32)).append(took_ns)

    def p95_ns(self, bucket: int) -> int:
        """What 95 % of such batches stay below; 0 while none was seen."""
        return self._quantile(bucket, 0.95)

    def median_ns(self, bucket: int) -> int:
        """What such a batch usually takes; 0 while none was seen."""
        return self._quantile(bucket, 0.5)

    def _quantile(self, bucket: int, share: float) -> int:
        took = sorted(self._seen.get(bucket, ()))
        return took[int(len(took) * share)] if took else 0


class BatchPolicy(Generic[F]):
    """The waiting frames, and the rule that closes batches.

    max_size: frames a batch holds at most. max_delay_ns: how long a frame may wait for company.
    """

    def __init__(self, *, max_size: int, max_delay_ns: int, times: BatchTimes) -> None:
        if max_size < 1:
            raise ValueError(f"a batch holds at least one frame, got max_size={max_size}")
        self.max_size = max_size
        self.buckets = buckets_up_to(max_size)
        self._max_delay_ns = max_delay_ns
        self._times = times
        self._lines: dict[int, list[tuple[int, int, F]]] = {}
        self._order = count()
        self._placed: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(len(heap) for heap in self._lines.values())

    def add(self, frame: F) -> None:
        """A decoded frame begins to wait."""
        heap = self._lines.setdefault(frame.line, [])
        heapq.heappush(heap, (frame.deadline_ns, next(self._order), frame))

    def next(self, now_ns: int, *, expected: int, takers: int = 1) -> Turn[F]:
        """What an idle lane should do now.

        expected: frames on their way (being decoded). takers: idle lanes, this one too, who share what waits.
        """
        expired = self._drop_hopeless(now_ns)
        reason = self._close_reason(now_ns, expected)
        if reason is None:
            return Turn(expired=expired, wake_ns=self._wake_ns())
        share = min(self.max_size, math.ceil(len(self) / takers))
        return Turn(batch=self._take(now_ns, share), reason=reason, expired=expired)

    def _close_reason(self, now_ns: int, expected: int) -> CloseReason | None:
        if not self._lines:
            return None
        if len(self) >= self.max_size:
            return CloseReason.FULL
        if now_ns >= self._latest_start_ns():
            return CloseReason.DEADLINE
        if now_ns >= self._oldest_ns() + self._max_delay_ns:
            return CloseReason.DELAY
        return CloseReason.IDLE if expected == 0 else None

    def _wake_ns(self) -> int | None:
        if not self._lines:
            return None
        return min(self._latest_start_ns(), self._oldest_ns() + self._max_delay_ns)

    def _latest_start_ns(self) -> int:
        """When a batch of all that wait must start for its most urgent frame to be answered in time."""
        bucket = bucket_for(min(len(self), self.max_size), self.buckets)
        earliest = min(self._head(line)[0] for line in self._lines)
        return earliest - ANSWER_NS - SPARE_NS - self._times.p95_ns(bucket)

    def _oldest_ns(self) -> int:
        return min(frame.queued_ns for heap in self._lines.values() for _, _, frame in heap)

    def _drop_hopeless(self, now_ns: int) -> tuple[F, ...]:
        """Frames whose time is over, and those that not even the next batch could answer in time.

        While more wait than a batch holds, the next batch is a full one: serving the most urgent frame
        alone would cost more frames than it saves. An estimate only ever gives way to another frame: the
        last one that waits is tried, so that a slow spell ends by being measured.
        """
        expired: list[F] = []
        while self._lines:
            line = min(self._lines, key=self._head)
            deadline_ns = self._head(line)[0]
            if deadline_ns > now_ns and (len(self) == 1 or deadline_ns > now_ns + self._next_batch_ns()):
                break
            expired.append(self._pop(line))
        return tuple(expired)

    def _next_batch_ns(self) -> int:
        """From the start of the next batch to its frames' verdicts, usually; 0 before anything was measured."""
        bucket = self.buckets[-1] if len(self) > self.max_size else self.buckets[0]
        usual_ns = self._times.median_ns(bucket)
        return usual_ns + ANSWER_NS if usual_ns else 0

    def _take(self, now_ns: int, share: int) -> tuple[F, ...]:
        """At most `share` frames, and no more than the most urgent of them has time for."""
        taken: list[F] = []
        quota = max(1, self.max_size // len(self._lines))
        while self._lines and len(taken) < share:
            line = self._next_line(quota)
            urgent_ns = min([self._head(line)[0], *(frame.deadline_ns for frame in taken)])
            grown_ns = self._times.median_ns(bucket_for(len(taken) + 1, self.buckets))
            if taken and now_ns + grown_ns + ANSWER_NS > urgent_ns:
                break
            self._placed[line] = self._placed.get(line, 0) + 1
            taken.append(self._pop(line))
        return tuple(taken)

    def _next_line(self, quota: int) -> int:
        """The line of the earliest deadline among those with quota left; a new round when none has."""
        open_lines = [line for line in self._lines if self._placed.get(line, 0) < quota]
        if not open_lines:
            self._placed.clear()
            open_lines = list(self._lines)
        return min(open_lines, key=self._head)

    def _head(self, line: int) -> tuple[int, int]:
        """(deadline in ns, order of arrival) of the line's most urgent frame."""
        return self._lines[line][0][:2]

    def _pop(self, line: int) -> F:
        heap = self._lines[line]
        frame = heapq.heappop(heap)[2]
        if not heap:
            del self._lines[line]
        return frame
