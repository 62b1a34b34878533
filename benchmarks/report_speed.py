"""`aprilgan-admin report` over 100,000 verdicts of a line, on SQLite and on a real PostgreSQL: the whole command.

From the start of the process to the file on disk; beside the line's verdicts lie as many of another line. Pictures
are made here, one for each part that the report shows at most. Deterministic.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sqlalchemy as sa

from benchmarks.result import Result
from daemon import schema
from daemon.records import Records
from tests.daemon.postgres_rig import running_postgres

ROWS = 100_000
LINES = (4, 5)
HOURS = 8.0
TARGET_S = 5.0
ROUNDS = 3
PICTURES = 24


def results() -> Iterator[Result]:
    """The slowest of three runs on each database."""
    with tempfile.TemporaryDirectory(prefix="ag-") as folder:
        yield _measured("sqlite", Path(folder), None)
    with tempfile.TemporaryDirectory(prefix="ag-") as folder, running_postgres() as server:
        yield _measured("postgresql", Path(folder), server.database())


def _measured(database: str, folder: Path, url: str | None) -> Result:
    records = Records(url or f"sqlite:///{folder / 'state' / 'records.db'}")
    records.upgrade()
    fill(records, folder / "state")
    records.close()
    config = folder / "aprilgan.toml"
    config.write_text(_settings(folder, url or "sqlite"), encoding="utf-8")
    out = folder / "report.html"
    runs = [_run(config, out) for _ in range(ROUNDS)]
    return Result(
        name=f"report_100k_rows_{database}_s",
        value=max(seconds for seconds, _ in runs),
        target=TARGET_S,
        at_most=True,
        detail={
            "rows": ROWS,
            "of": ROWS * len(LINES),
            "all_s": [round(seconds, 2) for seconds, _ in runs],
            "processor_s": [round(used, 2) for _, used in runs],
            "bytes": out.stat().st_size,
        },
    )


def _run(config: Path, out: Path) -> tuple[float, float]:
    """Seconds on the clock, and of processor time without the database server's."""
    command = [sys.executable, "-m", "daemon.admin", "--config", str(config), "report", "--line", str(LINES[0])]
    started, used = time.perf_counter(), _children_s()
    subprocess.run([*command, "--since", f"{HOURS:g}h", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, _children_s() - used


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _settings(folder: Path, url: str) -> str:
    return f"""[state]
dir = "{folder}/state"
[records]
url = "{url}"
[[lines]]
id = 4
name = "Loom 4"
"""


def fill(records: Records, state: Path) -> None:
    """Verdicts of two lines over the last hours, in the order of time, and pictures for the worst of them."""
    pictures = _pictures(state)
    with records.database.begin() as connection:
        for start in range(0, ROWS, 5000):
            rows = [_row(number, line, pictures) for number in range(start, start + 5000) for line in LINES]
            connection.execute(sa.insert(schema.inspections), rows)
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE inspections"))


def _pictures(state: Path) -> list[tuple[str, str]]:
    """(frame, heatmap) of camera-like pictures: a JPEG of 1280x960, a PNG of 1024x768."""
    rng = np.random.default_rng(0)
    paths = []
    for index in range(PICTURES):
        frame, heatmap = f"frames/4/{index}.jpg", f"heatmaps/4/{index}.png"
        small = rng.integers(60, 200, (120, 160, 3), dtype=np.uint8)
        for relative, size in ((frame, (1280, 960)), (heatmap, (1024, 768))):
            (state / relative).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(state / relative), cv2.resize(small, size))
        paths.append((frame, heatmap))
    return paths


def _row(number: int, line: int, pictures: list[tuple[str, str]]) -> dict[str, Any]:
    """1 % rejects, 0.3 % uninspected, the rest accepted; scores drift upwards by half a spread."""
    rng = np.random.default_rng((number, line))
    lost, bad = rng.random() < 0.003, rng.random() < 0.01
    score = float(rng.normal(0.5 * number / ROWS, 0.8) + (rng.gamma(4, 1.2) + 2 if bad else 0))
    decided_at = datetime.now(UTC) - timedelta(hours=HOURS) * (1 - (number + 0.5) / ROWS)
    decision = "uninspected" if lost else "reject" if score > 3 else "accept"
    frame, heatmap = pictures[number % PICTURES] if decision == "reject" else (None, None)
    return {
        "key": f"{line}:{number}",
        "line": line,
        "camera": f"cam{line}",
        "part": f"P{number:06}",
        "received_at": decided_at,
        "decided_at": decided_at,
        "decision": decision,
        "reason": "deadline" if lost else None,
        "score": None if lost else score,
        "threshold": None if lost else 3.0,
        "software_version": "0",
        "total_ms": 500.0 if lost else float(rng.gamma(20, 2.0)),
        "host": "here",
        "heatmap_path": heatmap,
        "frame_path": frame,
        "frame_sha256": "0" * 64,
    }
