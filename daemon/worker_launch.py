"""From the settings to what one worker is told: part of how `daemon.service` puts things together."""

from __future__ import annotations

from daemon.settings import Settings
from daemon.worker_config import WorkerConfig


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
        decode_threads=settings.worker.decode_threads,
        max_pixels=settings.ingest.max_pixels,
        keep_heatmaps=tuple(sorted(settings.heatmaps.decisions)),
        log_format=settings.log.format,
        log_level=settings.log.level,
    )
