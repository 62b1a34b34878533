"""What the pixel figures of 1,000 maps of 518x518 cost on one core: seconds, and resident memory beyond the start.

A fresh process, held on one processor, adds the maps and asks for the figures; making the maps is not counted.
Half the pictures are good, defects cover 2 to 3 % of the others. Two kinds: distances to a bank (five powers of
two), and probabilities from words, whose scores spread over many powers of two, the harder case.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.result import Result
from core.metrics import PixelAccumulator

MAPS, SIZE, DRAWN = 1000, 518, 40
GRID = 37
SECONDS = 7.0
"""A tenth of what `lite` needs to score 1,000 pictures at 512 px on one core here (issue 4)."""
MEMORY_MIB = 110.0
KINDS = ("distances", "probabilities")

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def results() -> Iterator[Result]:
    """Wall seconds and MiB, a kind of map each; CPU seconds beside them tell whether other work ran."""
    for kind in KINDS:
        command = [sys.executable, "-m", "benchmarks.metrics_speed", kind]
        measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        seconds, memory = measured.pop("seconds"), measured.pop("memory_mib")
        detail = {"maps": MAPS, "size": SIZE, **measured}
        yield Result(name=f"metrics_seconds_{kind}", value=seconds, target=SECONDS, at_most=True, detail=detail)
        yield Result(name=f"metrics_memory_mib_{kind}", value=memory, target=MEMORY_MIB, at_most=True, detail={})


def measure(kind: str) -> dict[str, float | None]:
    """Seconds and memory of one life of an accumulator in this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    drawn = [draw(rng, kind, defective=index % 2 == 1) for index in range(DRAWN)]
    before, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Watch()
    with tempfile.TemporaryDirectory(prefix="ag-metrics-") as folder, PixelAccumulator(Path(folder)) as pixels:
        for index in range(MAPS):
            map, mask = drawn[index % DRAWN]
            map = map * np.float32(1 + 1e-4 * index)  # no two pictures alike
            with spent:
                pixels.add(map, mask)
        with spent:
            figures = pixels.figures()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": spent.wall,
        "cpu_seconds": round(spent.cpu, 2),
        "memory_mib": (peak - before) / 1024,
        "load": round(os.getloadavg()[0], 1),
        "auroc": figures.auroc,
        "pro": figures.pro,
    }


class Watch:
    """Adds up the time inside its `with` blocks."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._wall
        self.cpu += time.process_time() - self._cpu


def draw(rng: np.random.Generator, kind: str, *, defective: bool) -> tuple[Map, Mask]:
    """A smooth map (SIZE, SIZE), higher over up to three ellipses, and their mask."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(int(rng.integers(1, 4)) if defective else 0):
        centre, axes = rng.integers(60, SIZE - 60, 2).tolist(), rng.integers((15, 10), (60, 45)).tolist()
        cv2.ellipse(mask, centre, axes, 30.0, 0.0, 360.0, 1, thickness=-1)
    grid = rng.gamma(4.0, 0.02, (GRID, GRID)) + 0.15 * cv2.resize(
        mask.astype(np.float64), (GRID, GRID), interpolation=cv2.INTER_AREA
    )
    map = cv2.GaussianBlur(cv2.resize(grid, (SIZE, SIZE)), (0, 0), 4.0)
    if kind == "probabilities":
        map = 4 / (1 + np.exp(-100 * (map - 0.25)))
    return map.astype(np.float32), mask.astype(bool)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
