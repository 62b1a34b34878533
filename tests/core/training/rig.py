"""A small data set in MVTec's layout: two woven classes, good parts and two kinds of defect with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import core
from core.datasets import Dataset, open_dataset
from core.training import TrainingOptions, train_linear_layers
from tests.pictures import weave
from tests.tiny import TinyModel

CLASSES = ("cloth", "metal_nut")
DEFECTS = ("burn", "stain")
SIDE = 40
OPTIONS = TrainingOptions(epochs=2, batch=4, stitch_probability=0.3, seed=5)


def write_dataset(root: Path, *, each: int = 2) -> Dataset:
    """`each` good pictures and as many of every defect, a class; PNG."""
    for number, name in enumerate(CLASSES):
        for index in range(each):
            _write(root / name / "train" / "good" / f"{index:03}.png", weave(900 + index, size=(SIDE, SIDE)))
            _write(root / name / "test" / "good" / f"{index:03}.png", _part(number, index))
            for defect in DEFECTS:
                picture, mask = _defective(_part(number, 50 + index), defect, [number, index])
                _write(root / name / "test" / defect / f"{index:03}.png", picture)
                _write(root / name / "ground_truth" / defect / f"{index:03}_mask.png", mask)
    return open_dataset("mvtec", root)


def train(model: TinyModel, root: Path, work: Path, options: TrainingOptions, **more: Any) -> bytes:
    """Train on everything below `root`; the folder `work` is made."""
    work.mkdir(exist_ok=True)
    encoder = core.load_encoder(str(model.config), weights=model.weights, device="cpu")
    return train_linear_layers(encoder, unit_text, open_dataset("mvtec", root), options, work=work, **more)


def unit_text(name: str) -> torch.Tensor:
    """(2, 16) float32 unit rows that depend on the name alone."""
    rows = np.random.default_rng(len(name)).normal(size=(2, 16))
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def _part(number: int, index: int) -> np.ndarray:
    return weave(1000 * number + index, size=(SIDE, SIDE))


def _defective(picture: np.ndarray, defect: str, place: list[int]) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    top, left = np.random.default_rng([*place, len(defect)]).integers(0, SIDE - 14, size=2)
    mask[top : top + 14, left : left + 14] = 255
    picture = picture.copy()
    picture[mask > 0] = 0 if defect == "burn" else 60
    return picture, mask


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels):
        raise OSError(f"cannot write {path}")
