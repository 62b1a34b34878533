"""Which settings a running daemon can take over, and what they say to its parts. Pure.

Everything else needs a restart: a socket that is bound, a model that is loaded, a database that is open.
"""

from __future__ import annotations

import socket

from pydantic import BaseModel

from daemon import __version__
from daemon.admission import IngressOptions
from daemon.link import WorkerOrders
from daemon.setting_sections import RetentionSettings, StorageSettings
from daemon.settings import Settings
from daemon.verdicts import Provenance
from daemon.wire import WireLimits

LIVE = frozenset(
    {
        "lines",
        "cameras",
        "heatmaps.keep",
        "frames.keep",
        "frames.accept_every",
        "ingest.max_connections",
        "ingest.window",
        "ingest.max_in_flight",
        "ingest.max_in_flight_bytes",
        "ingest.max_message_bytes",
        "ingest.retry_after_ms",
        "log.format",
        "log.level",
        *(f"storage.{name}" for name in StorageSettings.model_fields),
        *(f"retention.{name}" for name in RetentionSettings.model_fields),
    }
)


def changed(old: Settings, new: Settings) -> list[str]:
    """The settings that differ, as "section.name"; a list of tables (lines, cameras) is one setting."""
    names: list[str] = []
    for section in Settings.model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if not isinstance(before, BaseModel):
            names += [section] if before != after else []
            continue
        fields = type(before).model_fields
        names += [f"{section}.{name}" for name in fields if getattr(before, name) != getattr(after, name)]
    return names


def needs_restart(names: list[str]) -> list[str]:
    """Those of the changed settings that a running daemon cannot take over."""
    return [name for name in names if name not in LIVE]


def ingress_options(settings: Settings, *, drain_s: float) -> IngressOptions:
    """What the settings say to the ingress loop. drain_s: how long a stop waits for frames in flight."""
    ingest = settings.ingest
    return IngressOptions(
        state_dir=settings.state.dir.resolve(),
        provenance=Provenance(software_version=__version__, host=socket.gethostname()),
        limits=WireLimits(max_message_bytes=ingest.max_message_bytes, max_pixels=ingest.max_pixels),
        window=ingest.window,
        max_in_flight=ingest.max_in_flight,
        max_in_flight_bytes=ingest.max_in_flight_bytes,
        max_outbox_rows=settings.outbox.max_rows,
        retry_after_ms=ingest.retry_after_ms,
        drain_s=drain_s,
    )


def worker_orders(settings: Settings) -> WorkerOrders:
    """What the settings say to a worker that runs already."""
    return WorkerOrders(
        lines=tuple(line.id for line in settings.lines),
        keep_heatmaps=tuple(sorted(settings.heatmaps.decisions)),
        keep_frames=tuple(sorted(settings.frames.decisions)),
        keep_accepted_every=settings.frames.accept_every,
        log_format=settings.log.format,
        log_level=settings.log.level,
    )
