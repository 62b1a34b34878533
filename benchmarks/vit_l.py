"""The paper's own size on this CPU: ViT-L-14-336 at 518 pixels scores and enrols through `aprilgan-admin`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.result import Result
from benchmarks.vit_l_files import PRESET, VitL, vit_l_files

GIB = 1 << 30
MEMORY_GIB = 24.0
REFERENCES = 2
SIDE = 700
SETTINGS = """
[state]
dir = "{folder}/state"
[model]
preset = "{preset}"
weights = "{weights}"
adapter = "{adapter}"
device = "cpu"
[[lines]]
id = 4
"""


def results() -> Iterator[Result]:
    """Peak resident memory of each command, in GiB; its time stands beside it."""
    with vit_l_files() as files:
        folder = files.weights.parent
        config = folder / "aprilgan.toml"
        config.write_text(
            SETTINGS.format(folder=folder, preset=PRESET, weights=files.weights, adapter=files.adapter),
            encoding="utf-8",
        )
        references = [_picture(folder / f"good-{seed}.png", seed) for seed in range(REFERENCES)]
        picture = _picture(folder / "picture.png", REFERENCES)
        for name, arguments in _commands(files, references, picture).items():
            yield _measured(name, ["--config", str(config), *arguments])


def _commands(files: VitL, references: list[Path], picture: Path) -> dict[str, list[str]]:
    words = ["--object", "metal_nut"]
    named = [argument for file in references for argument in ("--reference", str(file))]
    maps = ["--save-maps", str(files.weights.parent / "maps.npz")]
    return {
        "score_zero_shot": ["score", *words, str(picture)],
        "score_paper_few_shot": ["score", *words, "--mode", "paper", *named, *maps, str(picture)],
        "score_streaming_few_shot": ["score", *words, *named, *maps, str(picture)],
        "enrol": ["enroll", "--line", "4", *words, *map(str, references)],
    }


def _measured(name: str, arguments: list[str]) -> Result:
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "daemon.admin", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # Popen would wait for it once more
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return Result(
        name=f"vit_l_518_{name}_peak_gib",
        value=usage.ru_maxrss * 1024 / GIB,
        target=MEMORY_GIB,
        at_most=True,
        detail={"seconds": round(time.monotonic() - start, 1), "references": REFERENCES},
    )


def _picture(path: Path, seed: int) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    return path
