"""The layout of VisA: a table says what each picture is.

    split_csv/1cls.csv                                columns object,split,label,image,mask
    CLASS/Data/Images/{Normal,Anomaly}/*
    CLASS/Data/Masks/Anomaly/*                        the index of the defect's kind a pixel, 0 for none

Paths in the table are relative to the root. Files that it does not name are not part of the set. It tells normal
from anomalous and no more, so every defect is called `anomaly`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from core.datasets.items import GOOD, ObjectClass, TestItem
from core.datasets.listing import Listing
from core.errors import DatasetError

TABLE = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
KINDS = {("train", "normal"): "train", ("test", "normal"): GOOD, ("test", "anomaly"): "anomaly"}
"""What a row's split and label make of its picture; nothing anomalous is trained on."""


class Visa:
    """Reads it."""

    expects = f"{TABLE.as_posix()} and CLASS/Data/{{Images,Masks}} below it"

    def class_names(self, root: Path) -> list[str]:
        """The objects of the table; none where there is no table."""
        return sorted({row["object"] for row in _rows(root)}) if (root / TABLE).is_file() else []

    def read(self, root: Path, names: Sequence[str]) -> Listing:
        """List these classes."""
        drafts = {name: _Draft() for name in names}
        listing = Listing()
        rows = [(number, row) for number, row in enumerate(_rows(root), start=2) if row["object"] in drafts]
        uses = Counter(row["image"] for _, row in rows)
        for number, row in rows:
            try:
                drafts[row["object"]].add(root, row, uses[row["image"]])
            except DatasetError as error:
                listing.faults.append(f"{root / TABLE}, line {number}: {error}")
        for name, draft in drafts.items():
            listing.classes.append(draft.finished(name))
            if not draft.train or not draft.test:
                listing.faults.append(f"{root / TABLE}: names no usable train or no test pictures of {name}")
        return listing


@dataclass(slots=True)
class _Draft:
    """A class while its rows come in."""

    train: list[Path] = field(default_factory=list)
    test: list[TestItem] = field(default_factory=list)

    def add(self, root: Path, row: dict[str, str], uses: int) -> None:
        """Take one row. Raises DatasetError for one that cannot be used."""
        kind = KINDS.get((row["split"], row["label"]))
        if kind is None:
            raise DatasetError(
                f"expected train,normal or test,normal or test,anomaly, got {row['split']},{row['label']}"
            )
        image = _below(root, row["image"])
        if uses > 1:
            raise DatasetError(f"{image} is named by {uses} rows")
        if kind == "train":
            self.train.append(image)
            return
        if kind != GOOD and not row["mask"]:
            raise DatasetError(f"{image} is anomalous and has no mask")
        mask = None if kind == GOOD else _below(root, row["mask"])
        self.test.append(TestItem(image=image, mask=mask, defect=kind))

    def finished(self, name: str) -> ObjectClass:
        """Frozen and in order of name, whatever the order of the rows."""
        test = sorted(self.test, key=lambda item: (item.defect, item.image))
        return ObjectClass(name=name, train=tuple(sorted(self.train)), test=tuple(test))


def _rows(root: Path) -> list[dict[str, str]]:
    """The table. Raises DatasetError unless it is one with the columns of VisA."""
    path = root / TABLE
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
            if missing:
                raise DatasetError(f"{path}: expected the columns {','.join(COLUMNS)}; there is no {missing[0]}")
            return [{column: (row[column] or "").strip() for column in COLUMNS} for row in table]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: is no table of comma-separated values: {error}") from error


def _below(root: Path, name: str) -> Path:
    """The file of a relative path from the table. Raises DatasetError where it is absent or not below the root."""
    relative = PurePosixPath(name)
    if not relative.parts or relative.is_absolute() or ".." in relative.parts:
        raise DatasetError(f"expected a path below {root}, got {name!r}")
    path = root / relative
    if not path.is_file():
        raise DatasetError(f"there is no file {path}")
    return path
