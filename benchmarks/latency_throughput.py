"""Latency against throughput of the whole daemon with `lite`: from a tenth of its capacity to beyond it.

Twenty cameras on a line with the default deadline; capacity is what the same service answers, in the same run,
when nobody waits for a trigger. `--save` draws docs/images/latency_throughput.svg as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import textile
from benchmarks.curve_picture import Point, curve_svg
from benchmarks.daemon_speed import daemon_fps, enrol
from benchmarks.paced import Paced, run_cameras
from benchmarks.result import Result, machine
from benchmarks.service import Service

CAMERAS = 20
LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
SECONDS = 12.0
DEADLINE_MS = 500
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "latency_throughput.svg"
PATIENT, PACED = 4, 5
"""Lines: one with ample time, to measure capacity; one with the default deadline."""


def results() -> Iterator[Result]:
    """A row a load: the 99th percentile of trigger to reply, and what else became of the parts."""
    pictures = [picture.path.read_bytes() for picture in textile.stream(54, 3, 3, seed=1)]
    names = [f"paced-{index}" for index in range(CAMERAS)]
    cameras = {f"camera-{index}": PATIENT for index in range(4)} | dict.fromkeys(names, PACED)
    lines = {
        PATIENT: {"deadline_ms": 60_000, "product": "linen"},
        PACED: {"deadline_ms": DEADLINE_MS, "product": "linen"},
    }
    with Service(Path("var/bench"), lines=lines, cameras=cameras) as service:
        enrol(service, lines, textile.references(8, seed=1))
        capacity_hz = median(daemon_fps(service, pictures) for _ in range(3))
        for load in LOADS:
            run = run_cameras(service.ingest, names, pictures, rate_hz=load * capacity_hz, seconds=SECONDS)
            yield _row(load, capacity_hz, run)


def draw(rows: Sequence[Result]) -> None:
    """The curve of these rows, as a picture for the README."""
    points = [
        Point(
            load=row.detail["load"],
            offered_hz=row.detail["offered_hz"],
            p50_ms=row.detail["p50_ms"],
            p99_ms=row.value or 0.0,
            in_time=row.detail["in_time"],
        )
        for row in rows
    ]
    said = f"lite, 384 px, {machine()}, {rows[0].fields()['at']}"
    PICTURE.write_text(curve_svg(points, deadline_ms=DEADLINE_MS, machine=said), encoding="utf-8")


def _row(load: float, capacity_hz: float, run: Paced) -> Result:
    in_time = sum(1000 * seconds <= DEADLINE_MS for seconds in run.decided)
    return Result(
        name=f"latency_at_{load:.0%}_of_capacity_p99_ms",
        value=run.percentile_ms(99),
        target=None,
        detail={
            "load": load,
            "capacity_hz": round(capacity_hz, 2),
            "offered_hz": round(load * capacity_hz, 2),
            "verdicts_hz": round(len(run.decided) / SECONDS, 2),
            "p50_ms": round(run.percentile_ms(50), 1),
            "in_time": round(in_time / run.triggered, 4),
            "parts": run.triggered,
            "window_full": run.passed_by,
        },
    )
