"""What the evaluator's tests share: a small data set of woven parts with holes, panels on the lively tiny CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

import core
from core.datasets import Dataset, open_dataset
from core.evaluation import Evaluation, EvaluationOptions, Panel, evaluate
from core.text import Embed
from tests.core.clip_ad_rig import lively_adapter
from tests.pictures import weave

CLASSES = ("linen", "metal_nut")
SIZE = (48, 64)


def write_set(
    root: Path, *, classes: tuple[str, ...] = CLASSES, train: int = 5, good: int = 4, bad: int = 5
) -> Path:
    """An MVTec-like set: every class one weave, its defect a hole."""
    for number, name in enumerate(classes):
        seeds = iter(range(1000 * number, 1000 * number + 500))
        for folder, count in (("train/good", train), ("test/good", good), ("test/hole", bad)):
            for place in range(count):
                hole = folder.endswith("hole")
                save(root / name / folder / f"{place:03}.png", weave(next(seeds), size=SIZE, hole=hole))
                if hole:
                    save(root / name / "ground_truth/hole" / f"{place:03}_mask.png", hole_mask())
    return root


def hole_mask() -> np.ndarray:
    """(H, W) uint8, white where `weave` burns its hole."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    top, left = SIZE[0] // 3, SIZE[1] // 3
    mask[top : top + SIZE[0] // 3, left : left + SIZE[1] // 3] = 255
    return mask


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def opened(root: Path, *classes: str) -> Dataset:
    return open_dataset("mvtec", root, classes=classes or None)


def panel_of(encoder: core.Encoder, embed: Embed | None, *methods: str, **options: Any) -> Panel:
    """A panel of these methods; two numbers of shots and two draws unless told otherwise."""
    chosen = EvaluationOptions(**{"methods": methods, "shots": (0, 1, 2), "seeds": 2, **options})
    takes_layers = {"april-gan", "sdp+"} & set(methods)
    return Panel(encoder, chosen, adapter=lively_adapter(encoder) if takes_layers else None, embed=embed)


def run(panel: Panel, root: Path, work: Path, *classes: str, **options: Any) -> Evaluation:
    return evaluate(panel, opened(root, *classes), work=work, **options)
