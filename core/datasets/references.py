"""Which good pictures are shown: seeded, so that a run can be repeated and seeds can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

from core.datasets.items import ObjectClass
from core.errors import DatasetError


def draw_references(object_class: ObjectClass, shots: int, seed: int) -> tuple[Path, ...]:
    """Draw `shots` of the class's train pictures without replacement.

    Nested: for one seed the first shot is among the two, these among the four. Pictures are ordered by a hash of
    seed, class and file name, so that the draw is the same on every machine and every version of NumPy.

    Raises DatasetError where there are fewer.
    """
    if shots < 0:
        raise ValueError(f"expected 0 shots or more, got {shots}")
    if shots > len(object_class.train):
        raise DatasetError(
            f"{object_class.name}: expected {shots} good pictures or more to draw {shots} references from, there "
            f"are {len(object_class.train)}"
        )

    def lot(path: Path) -> bytes:
        return hashlib.sha256(f"{seed}/{object_class.name}/{path.name}".encode(errors="surrogateescape")).digest()

    return tuple(sorted(object_class.train, key=lot)[:shots])
