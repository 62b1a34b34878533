"""What `aprilgan-admin evaluate` costs beside the scoring: memory, and the time that the metrics take.

    python -m benchmarks evaluate_speed

1,000 generated pictures at 518 x 518, `lite` with method bank, 4 references, one draw, both score modes; a fifth
of that besides, as memory must not grow with the set. Not among `make bench`'s: it takes a while.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.result import Result
from core.synthetic import write_mvtec

SIZE = 518
SURFACE = "twill"
DEFECTS = ("scratch", "hole", "stain", "crack", "specks")
MOST_MIB = 2048
"""Peak memory that is taken for bounded; an interpreter with torch and `lite` alone is at about 700."""


def results() -> Iterator[Result]:
    """The share of the metrics in the scoring time, and the peak memory."""
    with tempfile.TemporaryDirectory(prefix="ag-") as folder:
        small, _ = evaluated(Path(folder) / "small", pictures=200)
        peak, document = evaluated(Path(folder) / "large", pictures=1000)
    seconds = document["meta"]["seconds"]
    detail = {
        "pictures": 1000,
        "image_size": SIZE,
        "trials": 2,
        "seconds": seconds,
        "peak_mib": round(peak),
        "peak_mib_of_200": round(small),
        "image_auroc": round(document["mean"][1]["image_auroc"], 4),
    }
    yield Result(
        name="evaluate_metric_share",
        value=seconds["metrics"] / seconds["scoring"],
        target=0.10,
        at_most=True,
        detail=detail,
    )
    yield Result(name="evaluate_peak_mib", value=peak, target=MOST_MIB, at_most=True, detail=detail)


def evaluated(folder: Path, *, pictures: int) -> tuple[float, dict[str, Any]]:
    """Peak MiB of the command in a process of its own, and what it wrote. Half of the pictures have a defect."""
    out = folder / "out.json"
    write_mvtec(
        folder / "set",
        size=SIZE,
        seed=5,
        surfaces=[SURFACE],
        defects=DEFECTS,
        train=8,
        good=pictures // 2,
        per_defect=pictures // 2 // len(DEFECTS),
    )
    command = [sys.executable, "-m", "daemon.admin", "evaluate", "--dataset", "mvtec", "--root", folder / "set"]
    options = ["--model", "lite", "--method", "bank", "--shots", "4", "--seeds", "1", "--image-size", str(SIZE)]
    subprocess.run([*command, *options, "--work", folder / "work", "--json", out], check=True)
    # Of the largest child so far: the small set goes first.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return peak, json.loads(out.read_text(encoding="utf-8"))
