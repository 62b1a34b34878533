"""Durable frames on their way to a worker, in order of receipt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from daemon.flow import Frame, RawFrame
from daemon.in_flight import Owned
from daemon.link import FrameHeader
from daemon.worker_port import WorkerPort


class Dispatcher:
    """Holds what no worker takes yet. Bounded by what is in flight and by the deadlines of that."""

    def __init__(self, workers: WorkerPort) -> None:
        self._workers = workers
        self._queue: deque[Owned] = deque()

    def add(self, frames: Iterable[Owned]) -> None:
        """Frames whose rows are durable."""
        self._queue.extend(frames)

    def pump(self) -> None:
        """Send as much as a worker takes; what was decided meanwhile (its raw frame is gone) is left out."""
        while self._queue:
            owned = self._queue[0]
            if owned.raw is not None and not self._hand_over(owned.frame, owned.raw):
                return
            owned.raw = None  # the worker has the pixels; losing it loses the frame
            self._queue.popleft()

    def _hand_over(self, frame: Frame, raw: RawFrame) -> bool:
        return self._workers.ready and self._workers.send(_header(frame, raw), raw.payload)


def _header(frame: Frame, raw: RawFrame) -> FrameHeader:
    return FrameHeader(
        key=frame.key,
        line=frame.identity.line,
        camera=frame.identity.camera,
        encoding=raw.encoding.value,
        dtype=raw.dtype,
        shape=raw.shape,
        color=raw.color,
        received_ns=frame.received_ns,
        deadline_ns=frame.deadline_ns,
    )
