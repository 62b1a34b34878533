"""What a data set is made of: classes of objects, their good pictures, and test pictures with masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from core.errors import DatasetError

Layout = Literal["mvtec", "visa", "folder"]

GOOD = "good"
"""The defect of a test picture without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestItem:
    """A picture with its truth.

    mask: a PNG of the picture's size, not black where the defect is; None exactly where the picture is good.
    defect: its kind by the layout's own name, GOOD for none.
    """

    __test__: ClassVar[bool] = False  # keeps pytest from collecting it, by its name, wherever it is imported

    image: Path
    mask: Path | None
    defect: str

    @property
    def anomalous(self) -> bool:
        """Whether there is a defect."""
        return self.defect != GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectClass:
    """One kind of object or texture. `name` is the folder's own (`metal_nut`), as the papers prompt with it.

    train: good pictures, which references are drawn from. test: good and defective ones. Both in order of name.
    """

    name: str
    train: tuple[Path, ...]
    test: tuple[TestItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The classes that were asked for, in order of name. Every path lies below `root`."""

    layout: Layout
    root: Path
    classes: tuple[ObjectClass, ...]

    def digest(self) -> str:
        """SHA-256 in hex over what each file is for, its name below the root, and its bytes.

        It stays the same where the root moves. Reads every file. Raises DatasetError.
        """
        total = hashlib.sha256()
        for part, path in sorted(self._files()):
            name = os.fsencode(path.relative_to(self.root).as_posix())
            total.update(b"\0".join((part.encode(), name, _sha256(path).encode(), b"")))
        return total.hexdigest()

    def _files(self) -> Iterator[tuple[str, Path]]:
        for object_class in self.classes:
            yield from (("train", path) for path in object_class.train)
            for item in object_class.test:
                yield f"test {item.defect}", item.image
                if item.mask is not None:
                    yield "mask", item.mask


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
