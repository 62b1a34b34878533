"""The batch queue: `daemon.batching` with a lock around it. Intake feeds it, the scorer's lanes take from it."""

from __future__ import annotations

import threading

from daemon.batching import BatchPolicy, BatchTimes, Turn, bucket_for
from daemon.clock import Clock
from daemon.work import QueuedFrame


class BatchQueue:
    """Frames that were decoded and wait for the scorer. Any number of consumers and of producers."""

    def __init__(self, *, max_size: int, max_delay_ns: int, clock: Clock) -> None:
        self._times = BatchTimes()
        self._policy: BatchPolicy[QueuedFrame] = BatchPolicy(
            max_size=max_size, max_delay_ns=max_delay_ns, times=self._times
        )
        self._clock = clock
        self._changed = threading.Condition()
        self._expected = 0
        self._takers = 0
        self._weight = 0
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._policy) + self._expected

    @property
    def weight(self) -> int:
        """Bytes of the decoded pictures that wait."""
        with self._changed:
            return self._weight

    @property
    def drained(self) -> bool:
        """Closed, and nothing left to take."""
        with self._changed:
            return self._closed and not self._policy and not self._expected

    def expect(self) -> None:
        """A frame is on its way (being decoded): one `arrive` follows."""
        with self._changed:
            self._expected += 1

    def arrive(self, frame: QueuedFrame | None) -> None:
        """An expected frame is here, or (None) will not come: it is answered already."""
        with self._changed:
            self._expected -= 1
            if frame is not None:
                self._policy.add(frame)
                self._weight += frame.image.nbytes
            self._changed.notify()

    def take(self, timeout_s: float) -> Turn[QueuedFrame]:
        """Wait for a batch to close or frames to expire, at most `timeout_s`; an empty turn after that."""
        with self._changed:
            self._takers += 1
            try:
                turn = self._wait_for_turn(timeout_s)
            finally:
                self._takers -= 1
            self._weight -= sum(frame.image.nbytes for frame in turn.batch + turn.expired)
            if self._policy:
                self._changed.notify()  # what is left is for another lane, if one waits
            return turn

    def _wait_for_turn(self, timeout_s: float) -> Turn[QueuedFrame]:
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            now_ns = self._clock.monotonic_ns()
            turn = self._policy.next(now_ns, expected=self._expected, takers=self._takers)
            if turn.batch or turn.expired or now_ns >= end_ns or self._closed:
                return turn
            wake_ns = end_ns if turn.wake_ns is None else min(end_ns, turn.wake_ns)
            self._changed.wait(max(0, wake_ns - now_ns) / 1e9)

    def bucket(self, size: int) -> int:
        """The bucket that a batch of `size` frames runs in."""
        return bucket_for(size, self._policy.buckets)

    def observe(self, size: int, took_ns: int) -> None:
        """Tell the policy how long a batch of `size` frames took."""
        with self._changed:
            self._times.observe(self.bucket(size), took_ns)

    def close(self) -> None:
        """Nothing more will be expected; `take` no longer waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
