"""One product in a plain folder, for people with pictures of their own:

    ROOT/reference/*              good, references are drawn from these (may be absent: no shots then)
    ROOT/good/*                   good, for the test
    ROOT/DEFECT/*                 defective, for the test; DEFECT is any other name
    ROOT/masks/DEFECT/STEM.png    not black where the defect is

The class is named as the folder ROOT is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.datasets.items import ObjectClass
from core.datasets.listing import Listing, has_pictures, labelled, pictures, subfolders

REFERENCE = "reference"
MASKS = "masks"


class Folder:
    """Reads it."""

    expects = "pictures in the folders good and DEFECT (any other name) below it, masks in masks/DEFECT"

    def class_names(self, root: Path) -> list[str]:
        """The root's own name where test pictures lie below it."""
        return [root.resolve().name] if any(map(has_pictures, _kinds(root))) else []

    def read(self, root: Path, names: Sequence[str]) -> Listing:
        """List the one class."""
        listing = Listing()
        listing.classes = [_read_class(root, name, listing.faults) for name in names]
        return listing


def _kinds(root: Path) -> list[Path]:
    return [path for path in subfolders(root) if path.name not in (REFERENCE, MASKS)]


def _read_class(root: Path, name: str, faults: list[str]) -> ObjectClass:
    references = root / REFERENCE
    return ObjectClass(
        name=name,
        train=pictures(references, faults) if references.is_dir() else (),
        test=labelled(_kinds(root), root / MASKS, "{}.png".format, faults),
    )
