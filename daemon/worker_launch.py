"""From the settings to what one worker is told: part of how `daemon.service` puts things together."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import CoreError
from core.presets import takes_a_clip
from daemon.exit_codes import ExitCode
from daemon.settings import Settings
from daemon.stopping import StopFlag
from daemon.supervisor import Standby, WatchOptions, WorkerProcess
from daemon.worker_config import WorkerConfig

STANDBY_ROOM_BYTES = 4 * 1024**3
"""Free memory from which "auto" keeps a standby: it takes 0.3 to 1 GB."""


class WorkerLauncher:
    """Starts the lives of one worker; what daemon.worker_port calls `Launch`.

    `prepare` has a standby wait for the next loss, where the settings and the memory allow one. A first life
    that says its model cannot be loaded stops the service: no restart would mend the settings. `settings` are what
    the next life is told; they may be replaced.
    """

    def __init__(self, settings: Settings, stop: StopFlag, *, worker: int = 0) -> None:
        self.settings = settings
        self._stop = stop
        self._worker = worker
        self._last: WorkerProcess | None = None
        self._standby = Standby()

    def __call__(self, life: int, frames_endpoint: str, upward_endpoint: str) -> WorkerProcess:
        """Start a life."""
        if self._last is not None and self._last.life == 1 and self._last.poll() == ExitCode.CONFIG:
            self._stop.fail("the model cannot be loaded; the worker said why", ExitCode.CONFIG)
        self._last = WorkerProcess(
            worker_config(
                self.settings,
                worker=self._worker,
                life=life,
                parent_pid=os.getpid(),
                frames_endpoint=frames_endpoint,
                upward_endpoint=upward_endpoint,
            ),
            self._standby.take(),
        )
        return self._last

    def prepare(self) -> None:
        """The present life is ready: from now on a successor may wait."""
        wanted = self.settings.worker.standby
        if wanted is True or (wanted == "auto" and available_bytes() >= STANDBY_ROOM_BYTES):
            self._standby.prepare(clip=_takes_a_clip(self.settings))

    def close(self) -> None:
        """End the standby."""
        self._standby.close()


def _takes_a_clip(settings: Settings) -> bool:
    try:
        return takes_a_clip(settings.model.preset, settings.model.method)
    except CoreError:  # its file has gone since: the next life will say so
        return True


def available_bytes() -> int:
    """Memory that new processes can have without swapping (MemAvailable); 0 where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else 0


def watch_options(settings: Settings) -> WatchOptions:
    """What the settings say to the supervisor."""
    worker = settings.worker
    return WatchOptions(
        start_timeout_s=worker.start_timeout_s,
        beat_timeout_s=worker.beat_timeout_s,
        batch_timeout_s=worker.batch_timeout_s,
    )


def worker_config(
    settings: Settings,
    *,
    worker: int,
    life: int,
    parent_pid: int,
    frames_endpoint: str,
    upward_endpoint: str,
) -> WorkerConfig:
    """What the settings say to one life of a worker."""
    model = settings.model
    return WorkerConfig(
        worker=worker,
        life=life,
        parent_pid=parent_pid,
        frames_endpoint=frames_endpoint,
        upward_endpoint=upward_endpoint,
        state_dir=str(settings.state.dir.resolve()),
        lines=tuple(line.id for line in settings.lines),
        shortest_deadline_ms=min((line.deadline_ms for line in settings.lines), default=500),
        records_url=settings.records_url,
        redis_url=settings.redis_url,
        preset=model.preset,
        weights=None if model.weights is None else str(model.weights),
        adapter=None if model.adapter is None else str(model.adapter),
        method=model.method,
        activation=model.activation,
        stages=model.stages,
        device=model.device,
        precision=model.precision,
        image_size=model.image_size,
        max_size=settings.batching.max_size,
        max_delay_ms=settings.batching.max_delay_ms,
        lanes=settings.batching.lanes,
        decode_threads=settings.worker.decode_threads,
        bank_budget_mb=settings.worker.bank_budget_mb,
        max_pixels=settings.ingest.max_pixels,
        keep_heatmaps=tuple(sorted(settings.heatmaps.decisions)),
        keep_frames=tuple(sorted(settings.frames.decisions)),
        keep_accepted_every=settings.frames.accept_every,
        log_format=settings.log.format,
        log_level=settings.log.level,
    )
