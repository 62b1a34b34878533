"""What the worker's threads know of themselves, and the thread that tells ingress every second."""

from __future__ import annotations

import os
import resource
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import zmq

from daemon.clock import Clock
from daemon.link import WorkerStatus, pack_upward

BEAT_S = 1.0


class BankView(Protocol):
    """What the status says of banks (daemon.banks.BankKeeper)."""

    def status(self) -> BankStatus: ...


class BankStatus(Protocol):
    """A snapshot: see WorkerStatus for the fields."""

    @property
    def redis_up(self) -> bool: ...

    @property
    def db_up(self) -> bool: ...

    @property
    def loads(self) -> dict[str, int]: ...

    @property
    def bytes_held(self) -> int: ...

    @property
    def lines(self) -> dict[str, dict[str, Any]]: ...


class StatusBoard:
    """Written by every thread of the worker, read by the beat. All methods are safe from any thread."""

    def __init__(self, *, worker: int, life: int, clock: Clock) -> None:
        self._worker = worker
        self._life = life
        self._clock = clock
        self._lock = threading.Lock()
        self._phase = "loading"
        self._queued: Callable[[], int] = int
        self._lanes = 1
        self._turns: Counter[int] = Counter()
        self._busy_since_ns: dict[int, int] = {}
        self._model: dict[str, str] = {}
        self._slowest_ns = 0
        self._selftest = "skipped"
        self._device_memory: dict[str, int] = {}
        self._heatmaps: Counter[str] = Counter()
        self._kept_frames: Counter[str] = Counter()

    def enter(self, phase: str, *, queued: Callable[[], int] | None = None) -> None:
        """The worker is "loading", "ready" or "stopping". queued: counts the frames that wait, from now on."""
        with self._lock:
            self._phase = phase
            self._queued = queued or self._queued

    @property
    def phase(self) -> str:
        """The phase entered last."""
        with self._lock:
            return self._phase

    def loaded(self, *, device: str, precision: str, model_id: str) -> None:
        """The encoder is there."""
        with self._lock:
            self._model = {"device": device, "precision": precision, "model_id": model_id}

    def warmed(self, *, slowest_ns: int, lanes: int = 1) -> None:
        """The warm-up is over; its slowest batch took so long, and so many lanes will score."""
        with self._lock:
            self._slowest_ns, self._lanes = slowest_ns, lanes

    def turned(self, lane: int = 0) -> None:
        """A lane of the scorer began a turn."""
        with self._lock:
            self._turns[lane] += 1

    def busy(self, since_ns: int | None, lane: int = 0) -> None:
        """A lane's batch began at this moment, or (None) ended."""
        with self._lock:
            if since_ns is None:
                self._busy_since_ns.pop(lane, None)
            else:
                self._busy_since_ns[lane] = since_ns

    def selftest(self, outcome: str) -> None:
        """The golden self-test "passed", "failed" or was "skipped"."""
        with self._lock:
            self._selftest = outcome

    def device_memory(self, memory: Mapping[str, int]) -> None:
        """What the scorer last saw of its GPU's memory, see WorkerStatus; nothing on a CPU."""
        with self._lock:
            self._device_memory = dict(memory)

    def heatmap(self, result: str) -> None:
        """A heatmap was "written", "skipped" or "failed"."""
        with self._lock:
            self._heatmaps[result] += 1

    def kept_frame(self, result: str) -> None:
        """A camera's picture was "written", "skipped" or "failed"."""
        with self._lock:
            self._kept_frames[result] += 1

    def status(self, banks: BankStatus) -> WorkerStatus:
        """The heartbeat as of now."""
        with self._lock:
            since_ns = min(self._busy_since_ns.values(), default=None)
            return WorkerStatus(
                worker=self._worker,
                life=self._life,
                pid=os.getpid(),
                phase=self._phase,
                progress=min(self._turns[lane] for lane in range(self._lanes)),
                lanes=self._lanes,
                busy_ms=0.0 if since_ns is None else (self._clock.monotonic_ns() - since_ns) / 1e6,
                slowest_batch_ms=self._slowest_ns / 1e6,
                queued=self._queued(),
                selftest=self._selftest,
                redis_up=banks.redis_up,
                db_up=banks.db_up,
                bank_loads=banks.loads,
                bank_bytes=banks.bytes_held,
                lines=banks.lines,
                device_memory=self._device_memory,
                heatmaps=dict(self._heatmaps),
                kept_frames=dict(self._kept_frames),
                rss_bytes=resident_bytes(),
                **self._model,
            )


class Beat(threading.Thread):
    """Sends the status every second on a socket of its own, whatever the scorer is doing."""

    def __init__(
        self,
        board: StatusBoard,
        *,
        banks: BankView,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        every_s: float = BEAT_S,
    ) -> None:
        super().__init__(name="beat", daemon=True)
        self._board = board
        self._banks = banks
        self._context = context
        self._endpoint = endpoint
        self._every_s = every_s
        self._now = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Beat until stopped; the last beat says "stopping"."""
        with self._context.socket(zmq.PUSH) as socket:
            socket.set(zmq.LINGER, 500)
            socket.set(zmq.SNDHWM, 8)
            socket.connect(self._endpoint)
            while not self._ended.is_set():
                self._send(socket)
                self._now.wait(self._every_s)
                self._now.clear()
            self._send(socket)

    def now(self) -> None:
        """Something changed that should not wait for the next second."""
        self._now.set()

    def stop(self) -> None:
        """Send one last status and end."""
        self._ended.set()
        self._now.set()
        self.join()

    def _send(self, socket: zmq.Socket[bytes]) -> None:
        status = self._board.status(self._banks.status())
        with suppress(zmq.Again):  # ingress is eight statuses behind: one more tells it nothing
            socket.send(pack_upward(status), zmq.DONTWAIT)


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()
