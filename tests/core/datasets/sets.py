"""Small sound data sets of each layout on disk; tests break them in one way each."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from tests.pictures import weave

SIZE = (48, 64)
"""(height, width) of every picture."""


def hole_mask(value: int = 255, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W) uint8, `value` where `weave(hole=True)` burns its square."""
    mask = np.zeros(size, np.uint8)
    top, left = size[0] // 3, size[1] // 3
    mask[top : top + size[0] // 3, left : left + size[1] // 3] = value
    return mask


def write(path: Path, pixels: np.ndarray) -> Path:
    """A picture file, RGB or grey, in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def write_mvtec(root: Path, *names: str, train: int = 5, good: int = 2, defective: int = 2) -> Path:
    """Classes with the kinds `hole` and `pit`."""
    for name in names or ("cloth", "metal_nut"):
        for seed in range(train):
            write(root / name / "train" / "good" / f"{seed:03}.png", weave(seed))
        for seed in range(good):
            write(root / name / "test" / "good" / f"{seed:03}.png", weave(100 + seed))
        for kind in ("hole", "pit"):
            for seed in range(defective):
                write(root / name / "test" / kind / f"{seed:03}.png", weave(200 + seed, hole=True))
                write(root / name / "ground_truth" / kind / f"{seed:03}_mask.png", hole_mask())
        (root / name / "license.txt").write_text("not a picture")
    return root


def write_visa(root: Path, *names: str) -> Path:
    """Classes as VisA lays them out, JPEG in capitals, masks of small indices, the table in no order."""
    rows = []
    for name in names or ("candle", "pcb1"):
        data = root / name / "Data"
        for seed, split in enumerate(("test", "train", "train", "test", "train")):
            image = write(data / "Images" / "Normal" / f"{seed:04}.JPG", weave(seed))
            rows.append([name, split, "normal", image.relative_to(root).as_posix(), ""])
        for seed in range(2):
            image = write(data / "Images" / "Anomaly" / f"{seed:03}.JPG", weave(200 + seed, hole=True))
            mask = write(data / "Masks" / "Anomaly" / f"{seed:03}.png", hole_mask(seed + 1))
            paths = [path.relative_to(root).as_posix() for path in (image, mask)]
            rows.append([name, "test", "anomaly", *paths])
    write_table(root, rows)
    return root


def write_table(root: Path, rows: list[list[str]]) -> Path:
    """VisA's split_csv/1cls.csv."""
    path = root / "split_csv" / "1cls.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])
    return path


def write_folder(root: Path) -> Path:
    """One product with references, good ones and the kind `hole`."""
    for seed in range(3):
        write(root / "reference" / f"{seed}.png", weave(seed))
        write(root / "good" / f"{seed}.jpg", weave(100 + seed))
        write(root / "hole" / f"{seed}.jpg", weave(200 + seed, hole=True))
        write(root / "masks" / "hole" / f"{seed}.png", hole_mask())
    return root
