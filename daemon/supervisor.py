"""The life of a worker as its parent sees it: the process, and the judgement whether it still works.

`Standby` is a process that has imported everything and waits, `WorkerProcess` one that was told its life.
`WorkerWatch` is pure and judges heartbeats by an injected clock. Who acts on the judgement is
`daemon.worker_port`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum

from daemon import children
from daemon.link import WorkerStatus
from daemon.worker_config import WITHOUT_CLIP, WorkerConfig

__all__ = ["Health", "WatchOptions", "WorkerConfig", "WorkerProcess", "WorkerWatch"]

SECOND = 1_000_000_000
SLOWER_THAN_WARM = 20
"""A batch takes longer than in the warm-up, by a busy machine and by large banks; not by so much."""


class Health(StrEnum):
    """What the watch says of a worker; all but OK are reasons to replace it, and metrics labels."""

    OK = "ok"
    EXITED = "exited"
    START_TIMEOUT = "start_timeout"
    SILENT = "silent"
    HUNG = "hung"


class Standby:
    """A worker process that nobody has told its life yet: it imports, then waits on its standard input.

    Start it from a thread that lives as long as the process (daemon.children).
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The waiting process, None where there is none."""
        return None if self._process is None else self._process.pid

    def prepare(self, *, clip: bool = True) -> None:
        """Start one, unless one waits already. clip: whether what it will load takes a whole CLIP's libraries."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = _spawn() if clip else _spawn(WITHOUT_CLIP)

    def take(self) -> subprocess.Popen[bytes]:
        """The waiting process, or a fresh one where none waits; it is the caller's from now on."""
        process, self._process = self._process, None
        if process is None:
            return _spawn()
        if process.poll() is None:
            return process
        _reap(process)
        return _spawn()

    def close(self) -> None:
        """End the waiting process; it holds nothing."""
        if self._process is not None:
            self._process.kill()
            _reap(self._process)
            self._process = None


class WorkerProcess:
    """One life of a worker: in `process`, or in a fresh one.

    Start it from a thread that lives as long as the process (daemon.children).
    """

    def __init__(self, config: WorkerConfig, process: subprocess.Popen[bytes] | None = None) -> None:
        self.config = config
        self._process = process or _spawn()
        self._tell(config.to_line())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def life(self) -> int:
        """Which start this is."""
        return self.config.life

    def poll(self) -> int | None:
        """Its exit status (negative: killed by that signal), None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it now and reap it; a stopped (SIGSTOP) process dies of this as well."""
        self._process.kill()
        _reap(self._process)

    def stop(self, timeout_s: float) -> int:
        """Ask it to finish what it holds, wait at most `timeout_s`, then kill. Returns its exit status."""
        self._hang_up()
        return children.end(self._process, timeout_s=timeout_s)

    def _tell(self, line: bytes) -> None:
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except BrokenPipeError:
                pass  # it is dead already: poll() says so

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def _spawn(*arguments: str) -> subprocess.Popen[bytes]:
    return children.spawn([sys.executable, "-m", "daemon.worker", *arguments], stdin=subprocess.PIPE)


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Patience, in seconds (settings [worker]), and the pauses before each restart in a row.

    batch_timeout_s: or SLOWER_THAN_WARM times the slowest batch of the warm-up, where that is longer.
    healthy_s: a worker that was ready this long starts the pauses over.
    """

    start_timeout_s: float = 120.0
    beat_timeout_s: float = 3.0
    batch_timeout_s: float = 3.5
    pauses_s: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
    healthy_s: float = 60.0


class WorkerWatch:
    """Judges one worker through all its lives. Times in ns of the monotonic clock.

    Call `started` at each start, `seen` with each status of the present life, then `health`.
    """

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._life = 0
        self._restarts = 0
        self._started_ns = 0
        self._beat_ns = 0
        self._ready_ns: int | None = None
        self._progress: tuple[int, int] = (-1, 0)
        self._busy_ms = self._slowest_ms = 0.0

    @property
    def ready(self) -> bool:
        """Whether the present life has said that it is warm."""
        return self._ready_ns is not None

    def started(self, life: int, now_ns: int) -> None:
        """A new life began."""
        self._life = life
        self._started_ns = self._beat_ns = now_ns
        self._ready_ns = None
        self._progress = (-1, now_ns)
        self._busy_ms = self._slowest_ms = 0.0

    def seen(self, status: WorkerStatus, now_ns: int) -> None:
        """A heartbeat arrived. One of an earlier life is ignored."""
        if status.life != self._life:
            return
        self._beat_ns = now_ns
        self._busy_ms, self._slowest_ms = status.busy_ms, status.slowest_batch_ms
        if status.phase == "ready" and self._ready_ns is None:
            self._ready_ns = now_ns
        if status.progress != self._progress[0] or status.phase != "ready":
            self._progress = (status.progress, now_ns)

    def health(self, now_ns: int, *, exited: bool) -> Health:
        """The judgement now. exited: whether the process is gone."""
        if exited:
            return Health.EXITED
        if self._ready_ns is None:
            late = now_ns - self._started_ns > self._options.start_timeout_s * SECOND
            return Health.START_TIMEOUT if late else Health.OK
        if now_ns - self._beat_ns > self._options.beat_timeout_s * SECOND:
            return Health.SILENT
        # it beats, but its scorer may hang in a batch, or between batches
        stuck_ns = max(now_ns - self._progress[1], int(self._busy_ms * 1e6))
        patience_s = max(self._options.batch_timeout_s, SLOWER_THAN_WARM * self._slowest_ms / 1e3)
        return Health.HUNG if stuck_ns > patience_s * SECOND else Health.OK

    def restart_at_ns(self, now_ns: int) -> int:
        """When to start the next life of a worker that was lost now: at once first, then ever later."""
        if self._ready_ns is not None and now_ns - self._ready_ns >= self._options.healthy_s * SECOND:
            self._restarts = 0
        pauses = self._options.pauses_s
        pause = pauses[min(self._restarts, len(pauses) - 1)]
        self._restarts += 1
        return now_ns + int(pause * SECOND)
