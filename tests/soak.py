"""What `make test` shows in short, at length, with its wall-clock promises: real processes, the fast test encoder.

    python -m tests.soak [NAME ...]         kills, enrolments, frames, sql; all of them where none is named

SOAK_KILLS, SOAK_ENROLMENTS, SOAK_FRAMES and SOAK_SQL_DOWN_S in the environment shorten a part.
Each part prints one JSON line with its figures, the machine and the date. A promise that is not kept raises.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import core
from tests.daemon.postgres_rig import Postgres, running_postgres
from tests.end_to_end.faults.killed_enrolment import check_no_mixture, enrolments, scored_all_the_while, spoil
from tests.end_to_end.faults.oracle import outbox, rows, watched
from tests.end_to_end.faults.plant import prepared_daemon
from tests.end_to_end.harness import RunningDaemon, until, write_pictures
from tests.end_to_end.senders import Load
from tests.tiny import write_tiny_clip

KILLS = int(os.environ.get("SOAK_KILLS", "50"))
ENROLMENTS = int(os.environ.get("SOAK_ENROLMENTS", "200"))
FRAMES = int(os.environ.get("SOAK_FRAMES", "100000"))
SQL_DOWN_S = float(os.environ.get("SOAK_SQL_DOWN_S", "600"))
CAMERAS = ["top", "side", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every part works on."""

    daemon: RunningDaemon
    postgres: Postgres
    scorer: core.Scorer
    folder: Path


def kills(site: Site) -> dict[str, Any]:
    """Worker and daemon are killed at random times under load: no frame is unaccounted for."""
    draw, back_s = random.Random(50), []
    with watched(site.daemon) as witness:
        for turn in range(KILLS):
            with Load(site.daemon, CAMERAS, patience_ms=5_000) as load:
                time.sleep(draw.uniform(0, 2))
                if turn % 5:
                    started = time.monotonic()
                    worker = site.daemon.wait_for_worker()
                    os.kill(worker, signal.SIGKILL)
                    site.daemon.wait_for_worker(other_than=worker)
                    back_s.append(time.monotonic() - started)
                else:
                    site.daemon.kill()
                    site.daemon.start()
                witness.hears(load.finish())
    return {
        "kills": KILLS,
        "verdicts": len(outbox(site.daemon)[0]),
        "unaccounted": 0,
        "worker_back_s": _quantiles(back_s),
    }


def enrolments_killed(site: Site) -> dict[str, Any]:
    """Enrolments are killed at random points while their line is scored: no mixture."""
    folders = [write_pictures(site.folder / str(part), range(40 * part, 40 * part + 6)) for part in (1, 2)]
    with enrolments(site.daemon, 4) as enrol, scored_all_the_while(site.daemon) as verdicts:
        started = time.monotonic()
        enrol(folders[0], "weave0", None)
        within_s = time.monotonic() - started
        killed, whole = spoil(enrol, folders, within_s=within_s, times=ENROLMENTS, seed=16)
    until(lambda: len(rows(site.daemon)) == len(outbox(site.daemon)[0]), "the drain")
    since = min(verdict["key"] for verdict in verdicts)
    scored = [row for row in rows(site.daemon, f"camera = 'top' AND key >= '{since}'") if row["score"] is not None]
    check_no_mixture(site.daemon, scored, site.scorer)
    return {"killed": killed, "whole": whole, "rows_checked": len(scored), "mixtures": 0}


def frames(site: Site) -> dict[str, Any]:
    """Many frames: memory, files and series stay as they were."""
    assert site.daemon.process is not None
    processes = [psutil.Process(site.daemon.process.pid), psutil.Process(site.daemon.wait_for_worker())]
    samples: list[tuple[int, int, int, int, int]] = []
    with watched(site.daemon) as witness, Load(site.daemon, CAMERAS) as load:
        while len(load.answers) < FRAMES:
            time.sleep(2.0)
            memory = [process.memory_info().rss for process in processes]
            files = sum(process.num_fds() for process in processes)
            samples.append((len(load.answers), *memory, files, len(site.daemon.series())))
        witness.hears(load.finish())
    table = np.array(samples[len(samples) // 5 :], dtype=float)  # the first fifth is warm-up
    slopes = [float(np.polyfit(table[:, 0], table[:, column], 1)[0]) for column in (1, 2)]
    return {
        "frames": len(load.answers),
        "latency_s": [_quantiles(part) for part in np.array_split(load.took_s, 4)],
        "rss_slope_bytes_per_frame": dict(zip(("ingress", "worker"), slopes, strict=True)),
        "files": sorted(set(table[:, 3].astype(int).tolist())),
        "series": sorted(set(table[:, 4].astype(int).tolist())),
    }


def sql(site: Site) -> dict[str, Any]:
    """SQL accepts and never answers for a long time, then is killed for as long: everything is recorded once."""
    figures: dict[str, Any] = {}
    for name, fault in (("never_answers", site.postgres.frozen), ("killed", site.postgres.killed)):
        with watched(site.daemon) as witness:
            with Load(site.daemon, CAMERAS) as load:
                load.reaches(500)
            before = _quantiles(load.took_s)
            witness.hears(load.answers)
            with Load(site.daemon, CAMERAS) as load, fault():
                end = time.monotonic() + SQL_DOWN_S
                while time.monotonic() < end:
                    time.sleep(0.5)
                verdicts = witness.hears(load.finish())
                waiting = site.daemon.total("outbox_rows")
            started = time.monotonic()
            until(lambda: len(rows(site.daemon)) == len(outbox(site.daemon)[0]), "the drain", within_s=600)
        reasons = Counter(str(verdict["reason"]) for verdict in verdicts)
        figures[name] = {
            "latency_before_s": before,
            "latency_s": _quantiles(load.took_s),
            "waiting_rows": waiting,
            "drain_s": time.monotonic() - started,
            "reasons": reasons,
        }
    return figures


PARTS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "kills": kills,
    "enrolments": enrolments_killed,
    "frames": frames,
    "sql": sql,
}


def main(names: Sequence[str]) -> None:
    """Run the named parts on one daemon, one after another."""
    unknown = set(names) - set(PARTS)
    if unknown:
        raise SystemExit(f"expected some of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="ag-soak-") as name, running_postgres() as postgres:
        folder = Path(name)
        model = write_tiny_clip(folder / "model")
        scorer = core.Scorer(core.load_encoder(str(model.config), weights=model.weights, device="cpu"))
        (folder / "clock").write_text("0")
        with prepared_daemon(postgres, scorer, folder / "clock") as daemon:
            site = Site(daemon=daemon, postgres=postgres, scorer=scorer, folder=folder)
            for part in names or PARTS:
                started = time.monotonic()
                figures = PARTS[part](site)
                print(json.dumps({"soak": part, **figures, **_where(), "took_s": time.monotonic() - started}))
                sys.stdout.flush()


def _quantiles(values: Any) -> dict[str, float]:
    names = {"median": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(float(np.quantile(values, q)), 4) for name, q in names.items()}


def _where() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
