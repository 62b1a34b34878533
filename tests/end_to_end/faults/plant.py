"""The installation that faults are injected into: a daemon over PostgreSQL on a small disk, two enrolled lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import core
from core.flow import Sample
from daemon.bank_store import publish
from daemon.records import Records
from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.harness import RunningDaemon, a_daemon, picture

CAMERAS = {"top": 4, "side": 4, "other": 6}
LINES: dict[int, dict[str, Any]] = {4: {"deadline_ms": 10_000}, 6: {"deadline_ms": 10_000}}
MAX_CONNECTIONS = 24
INGEST = f"max_in_flight = 32\nwindow = 32\nmax_connections = {MAX_CONNECTIONS}"
BATCHES = "[batching]\nmax_size = 8\nmax_delay_ms = 20"
DISK_BYTES = 64 * 1024 * 1024
SABOTEUR = Path(__file__).parent / "saboteur"


@contextmanager
def prepared_daemon(
    postgres: Postgres,
    scorer: core.Scorer,
    wall_clock: Path,
    *,
    disk_bytes: int = DISK_BYTES,
    extra: str = BATCHES,
    tiny: bool = True,
) -> Iterator[RunningDaemon]:
    """A running daemon, both its lines enrolled. wall_clock: a file with the seconds that its clock is off.

    scorer: of the model that the daemon has: the fast test encoder, or (tiny=False) the default preset.
    """
    url = postgres.database()
    with a_daemon(
        cameras=CAMERAS, lines=LINES, ingest_extra=INGEST, extra=extra, records_url=url, tiny=tiny
    ) as daemon:
        daemon.environment |= sabotage(wall_clock)
        with a_small_disk(daemon.state, disk_bytes):
            records = Records(url)
            records.upgrade()
            for line in LINES:
                enrol(daemon, records, scorer, line)
            records.close()
            yield daemon.start()
            daemon.kill()


def enrol(daemon: RunningDaemon, records: Records, scorer: core.Scorer, line: int, *, first: int = 0) -> str:
    """Enrol a line as `aprilgan-admin enroll` does, without its 3 s of imports; the new bank's sha256."""
    seeds = range(first, first + 8)
    good = [Sample.from_array(f"good-{seed}", picture(seed)[:, :, ::-1].copy()) for seed in seeds]
    bank = core.enrol(scorer, good, product=f"weave{line}").bank
    done = publish(records, None, daemon.state, bank, line=line, who="test", why=None, action="enroll")
    return done.bank_sha256


@contextmanager
def a_small_disk(folder: Path, size_bytes: int = DISK_BYTES) -> Iterator[None]:
    """A file system of its own, so that it can be full; without root the folder stays an ordinary one."""
    folder.mkdir()
    if os.geteuid() != 0:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def sabotage(wall_clock: Path) -> dict[str, str]:
    """The environment in which saboteur/sitecustomize.py is imported."""
    path = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": os.pathsep.join([str(SABOTEUR), *([path] if path else [])]),
        "AG_WALL_CLOCK": str(wall_clock),
    }
