"""A synthetic data set as a folder in the layout of MVTec AD, one class for every surface."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import DatasetError
from core.synthetic.picture import CLEAR, DEFECTS, SURFACES, draw_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One picture to draw: into split ("train" or "test"), with a defect or None, the `number`th of its folder."""

    surface: str
    split: str
    defect: str | None
    number: int


def write_mvtec(
    root: Path,
    *,
    size: int,
    seed: int,
    surfaces: Sequence[str],
    defects: Sequence[str],
    train: int,
    good: int,
    per_defect: int,
    varied: bool = False,
    strength: tuple[float, float] = CLEAR,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write CLASS/{train/good, test/good, test/DEFECT, ground_truth/DEFECT}, PNG, `size` pixels a side.

    train, good, per_defect: pictures of each class in train/good, test/good and each test/DEFECT. varied: every
    picture is of a product of its own, to train on; otherwise a class is one product, so that references make
    sense. strength: of defects, as draw_picture has it. progress(pictures done, pictures in all). The same
    arguments give the same pictures. Nothing is left at `root` unless everything was written.

    Raises DatasetError for an unknown surface or defect, and when root exists and is not an empty folder.
    """
    _check(root, surfaces, defects)
    orders = list(_orders(surfaces, defects, train, good, per_defect))
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for done, order in enumerate(orders, start=1):
            _write(unfinished, order, size=size, seed=seed, varied=varied, strength=strength)
            progress(done, len(orders))
        unfinished.chmod(0o755)  # mkdtemp's are the owner's alone
        unfinished.replace(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check(root: Path, surfaces: Sequence[str], defects: Sequence[str]) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(f"{root}: expected an empty or a new folder")
    for what, asked, known in (("surface", surfaces, list(SURFACES)), ("defect", defects, list(DEFECTS))):
        for name in asked:
            if name not in known:
                raise DatasetError(f"{root}: expected a {what} of {', '.join(known)}, got {name!r}")


def _orders(
    surfaces: Sequence[str], defects: Sequence[str], train: int, good: int, per_defect: int
) -> Iterator[_Order]:
    for surface in surfaces:
        folders = [("train", None, train), ("test", None, good), *(("test", name, per_defect) for name in defects)]
        for split, defect, count in folders:
            for number in range(count):
                yield _Order(surface=surface, split=split, defect=defect, number=number)


def _write(
    root: Path, order: _Order, *, size: int, seed: int, varied: bool, strength: tuple[float, float]
) -> None:
    """Draw and write one picture; its seed depends on its own place alone, not on what else was asked for."""
    kind = 0 if order.defect is None else 1 + list(DEFECTS).index(order.defect)
    place = [seed, list(SURFACES).index(order.surface), int(order.split == "test"), kind, order.number]
    piece = draw_picture(
        np.random.default_rng(place),
        surface=order.surface,
        defect=order.defect,
        size=size,
        product=None if varied else seed,
        strength=strength,
    )
    name = f"{order.number:04}"
    _save(root / order.surface / order.split / piece.defect / f"{name}.png", piece.image[..., ::-1])
    if order.defect is not None:
        mask = np.where(piece.mask, 255, 0).astype(np.uint8)
        _save(root / order.surface / "ground_truth" / piece.defect / f"{name}_mask.png", mask)


def _save(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", picture)
    path.write_bytes(data.tobytes())
