"""The layout of MVTec AD, one folder a class:

CLASS/train/good/*
CLASS/test/{good,DEFECT}/*
CLASS/ground_truth/DEFECT/STEM_mask.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.datasets.items import GOOD, ObjectClass
from core.datasets.listing import Listing, labelled, pictures, subfolders

PARTS = ("train", "test", "ground_truth")


class Mvtec:
    """Reads it; any of the three parts makes a folder a class, and what is missing then is a fault."""

    expects = "CLASS/{train/good,test/good,test/DEFECT,ground_truth/DEFECT} folders below it"

    def class_names(self, root: Path) -> list[str]:
        """Folders with a part of the layout in them."""
        return [path.name for path in subfolders(root) if any((path / part).is_dir() for part in PARTS)]

    def read(self, root: Path, names: Sequence[str]) -> Listing:
        """List these classes."""
        listing = Listing()
        listing.classes = [_read_class(root / name, listing.faults) for name in names]
        return listing


def _read_class(folder: Path, faults: list[str]) -> ObjectClass:
    kinds = subfolders(folder / "test")
    if not kinds:
        faults.append(f"{folder / 'test'}: holds no folder good or DEFECT")
    return ObjectClass(
        name=folder.name,
        train=pictures(folder / "train" / GOOD, faults),
        test=labelled(kinds, folder / "ground_truth", "{}_mask.png".format, faults),
    )
