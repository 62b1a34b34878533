"""What the layouts share: which files of a folder are pictures, and which mask belongs to which.

A layout lists classes and, beside them, every fault it meets on the way, so that a person sees all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from core.datasets.items import GOOD, ObjectClass, TestItem

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""What counts as a picture in a folder. Those that cannot be read are faults, never passed over."""


@dataclass(slots=True)
class Listing:
    """Classes by name, and one line a fault that begins with the file's or folder's path."""

    classes: list[ObjectClass] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Reader(Protocol):
    """One layout."""

    @property
    def expects(self) -> str:
        """What must lie below the root, in words for an error."""
        ...

    def class_names(self, root: Path) -> list[str]:
        """The classes below `root` in order; none where it is not of this layout. Raises OSError, DatasetError."""
        ...

    def read(self, root: Path, names: Sequence[str]) -> Listing:
        """List these classes. Raises OSError, DatasetError."""
        ...


def subfolders(folder: Path) -> list[Path]:
    """Its folders in order of name, hidden ones apart; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def has_pictures(folder: Path) -> bool:
    """Whether at least one picture lies directly in it."""
    return folder.is_dir() and any(map(_is_picture, folder.iterdir()))


def pictures(folder: Path, faults: list[str]) -> tuple[Path, ...]:
    """The folder's pictures in order of name; that there is no folder, or none in it, is a fault."""
    if not folder.is_dir():
        faults.append(f"{folder}: no such folder")
        return ()
    found = tuple(sorted(filter(_is_picture, folder.iterdir())))
    if not found:
        faults.append(f"{folder}: holds no pictures (expected JPEG or PNG files)")
    return found


def labelled(
    kinds: Sequence[Path], masks: Path, mask_name: Callable[[str], str], faults: list[str]
) -> tuple[TestItem, ...]:
    """Test pictures, a folder a kind of defect or GOOD, with masks from the folder of that name below `masks`.

    mask_name: the mask's file name from the picture's stem.
    """
    items: list[TestItem] = []
    for kind in kinds:
        images = pictures(kind, faults)
        if kind.name == GOOD:
            items += [TestItem(image=image, mask=None, defect=GOOD) for image in images]
        else:
            items += _with_masks(images, masks / kind.name, mask_name, faults)
    known = {kind.name for kind in kinds}
    faults += [
        f"{odd}: no test pictures go with these masks" for odd in subfolders(masks) if odd.name not in known
    ]
    return tuple(items)


def _with_masks(
    images: Sequence[Path], masks: Path, mask_name: Callable[[str], str], faults: list[str]
) -> list[TestItem]:
    """Faults: a picture without mask, a mask without picture, two pictures that share one."""
    there = {mask.name: mask for mask in masks.iterdir() if _is_picture(mask)} if masks.is_dir() else {}
    wanted = Counter(mask_name(image.stem) for image in images)
    items = []
    for image in images:
        expected = mask_name(image.stem)
        if expected not in there:
            faults.append(f"{image}: has no mask {masks / expected}")
        elif wanted[expected] > 1:
            faults.append(f"{image}: shares its mask {masks / expected} with another picture")
        else:
            items.append(TestItem(image=image, mask=there[expected], defect=masks.name))
    faults += [f"{there[name]}: is the mask of no picture" for name in sorted(there) if name not in wanted]
    return items


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
