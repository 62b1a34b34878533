"""A plant in made-up time: cameras that trigger, the real admission and batching, a scorer that only takes time.

Nothing waits and nothing is random but by the seed: events in order of their time, so a run is a pure function.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from daemon.admission import Admission, IngressOptions
from daemon.batching import MILLISECOND, BatchPolicy, BatchTimes, bucket_for
from daemon.cameras import Camera, CameraDirectory
from daemon.flow import Encoding, Frame, Identity, Protocol, RawFrame, Refusal
from daemon.in_flight import InFlight, Owned
from daemon.verdicts import Provenance

DECODE_NS = 3 * MILLISECOND
ANSWER_NS = 6 * MILLISECOND
"""Way back, heatmap and commit, a typical one; the policy reckons with more."""
JITTER = 0.1
"""Of a camera's period, and of a batch's time."""
START_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What the batching policy sees of a frame."""

    line: int
    deadline_ns: int
    queued_ns: int
    key: str


class MadeUpClock:
    """Both clocks, moved by the events."""

    ns = START_NS

    def monotonic_ns(self) -> int:
        return self.ns

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC) + timedelta(microseconds=self.ns / 1000)


class NoReplays:
    """An outbox that has seen nothing and is empty."""

    unrecorded = 0

    def find(self, key: str) -> None:
        return None


@dataclass
class Outcome:
    """By line: frames answered in time, those that were not, and those turned away with BUSY."""

    answered: Counter[int] = field(default_factory=Counter)
    missed: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)


class Plant:
    """rates_hz: line -> frames a second of its one camera. took_ms: bucket -> what a batch takes.

    window: frames in flight that ingress lets a camera have; a large one leaves all fairness to the queue.
    """

    def __init__(
        self,
        rates_hz: Mapping[int, float],
        *,
        took_ms: Mapping[int, float],
        seed: int,
        deadline_ms: int = 500,
        window: int = 2,
    ) -> None:
        self._random = random.Random(seed)
        self._took_ms = took_ms
        self._clock = MadeUpClock()
        self._in_flight = InFlight()
        self._times = BatchTimes()
        for bucket, ms in took_ms.items():
            self._times.observe(bucket, int(ms * MILLISECOND))
        self._queue: BatchPolicy[Waits] = BatchPolicy(
            max_size=max(took_ms), max_delay_ns=5 * MILLISECOND, times=self._times
        )
        self._decoding: list[tuple[int, str, Waits]] = []
        self._triggers = [(START_NS + int(next_s * 1e9), line) for line, next_s in self._phases(rates_hz)]
        heapq.heapify(self._triggers)
        self._rates_hz = rates_hz
        self.outcome = Outcome()
        nowhere: Any = NoReplays()
        self._admission = Admission(
            cameras=CameraDirectory(camera(line, deadline_ms) for line in rates_hz),
            in_flight=self._in_flight,
            outbox=nowhere,
            options=IngressOptions(state_dir=Path("/nowhere"), provenance=PROVENANCE, window=window),
            clock=self._clock,
        )

    def run(self, seconds: float) -> Outcome:
        """Let the cameras trigger for so long, then answer what is left."""
        end_ns, free_ns = START_NS + int(seconds * 1e9), START_NS
        while self._triggers or self._decoding or len(self._queue):
            self._clock.ns = max(self._clock.ns, free_ns)
            self._let_in(end_ns)
            turn = self._queue.next(self._clock.ns, expected=len(self._decoding))
            for frame in turn.expired:
                self._leave(frame, self.outcome.missed)
            if turn.batch:
                free_ns = self._score(turn.batch)
            else:
                self._clock.ns = max(self._clock.ns + 1, min(self._next_events(turn.wake_ns), default=free_ns))
        return self.outcome

    def _phases(self, rates_hz: Mapping[int, float]) -> Iterator[tuple[int, float]]:
        return ((line, self._random.random() / rate) for line, rate in rates_hz.items())

    def _next_events(self, wake_ns: int | None) -> list[int]:
        times = [self._triggers[0][0]] if self._triggers else []
        times += [self._decoding[0][0]] if self._decoding else []
        return times if wake_ns is None else [*times, wake_ns]

    def _let_in(self, end_ns: int) -> None:
        """All triggers and all decoded pictures up to now, in order."""
        now_ns = self._clock.ns
        while self._triggers and self._triggers[0][0] <= now_ns:
            at_ns, line = heapq.heappop(self._triggers)
            self._clock.ns = at_ns
            self._trigger(line)
            period_ns = 1e9 / self._rates_hz[line]
            next_ns = at_ns + int(period_ns * self._random.uniform(1 - JITTER, 1 + JITTER))
            if next_ns < end_ns:
                heapq.heappush(self._triggers, (next_ns, line))
        self._clock.ns = now_ns
        while self._decoding and self._decoding[0][0] <= now_ns:
            self._queue.add(heapq.heappop(self._decoding)[2])

    def _trigger(self, line: int) -> None:
        raw = picture(line)
        try:
            frame = self._admission.judge(raw)
        except Refusal:
            self.outcome.refused[line] += 1
            return
        assert isinstance(frame, Frame)
        self._in_flight.add(Owned(frame=frame, size=raw.payload.nbytes))
        ready_ns = self._clock.ns + DECODE_NS
        waits = Waits(line=line, deadline_ns=frame.deadline_ns, queued_ns=ready_ns, key=frame.key)
        heapq.heappush(self._decoding, (ready_ns, frame.key, waits))

    def _score(self, batch: Sequence[Waits]) -> int:
        """When the scorer is free again; the clock stays where it is."""
        bucket = bucket_for(len(batch), self._queue.buckets)
        took_ns = int(self._took_ms[bucket] * MILLISECOND * self._random.uniform(1 - JITTER, 1 + JITTER))
        self._times.observe(bucket, took_ns)
        done_ns = self._clock.ns + took_ns
        for frame in batch:
            in_time = done_ns + ANSWER_NS <= frame.deadline_ns
            self._leave(frame, self.outcome.answered if in_time else self.outcome.missed)
        return done_ns

    def _leave(self, frame: Waits, where: Counter[int]) -> None:
        where[frame.line] += 1
        self._in_flight.settle(frame.key)


PROVENANCE = Provenance(host="plant", software_version="test")


def camera(line: int, deadline_ms: int) -> Camera:
    return Camera(name=f"camera-{line}", line=line, color="bgr", deadline_ms=deadline_ms, reply="verdict")


def picture(line: int) -> RawFrame:
    return RawFrame(
        route=b"",
        protocol=Protocol.NATIVE,
        identity=Identity(camera=f"camera-{line}", line=line),
        encoding=Encoding.RAW,
        payload=memoryview(bytes(16)),
        dtype="uint8",
        shape=(4, 4),
        color="gray",
    )
