"""Opening a data set: it is looked through before any work, so that no run of hours ends on file 900."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from core.datasets.folder import Folder
from core.datasets.items import GOOD, Dataset, Layout, TestItem
from core.datasets.listing import Reader, subfolders
from core.datasets.mvtec import Mvtec
from core.datasets.reading import read_full_mask, read_image, read_size
from core.datasets.visa import Visa
from core.errors import DatasetError

if TYPE_CHECKING:
    from core.bank_building import Progress  # imports torch

READERS: dict[Layout, Reader] = {"mvtec": Mvtec(), "visa": Visa(), "folder": Folder()}

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A data set and everything that is wrong with it.

    dataset: what could be listed; to be used only where there are no faults. faults: a line each that begins with
    the file's or folder's path. sizes: of its pictures, by class, distinct and ascending.
    """

    dataset: Dataset
    faults: tuple[str, ...]
    sizes: dict[str, tuple[Size, ...]]


def open_dataset(
    layout: Layout, root: Path, *, classes: Sequence[str] | None = None, progress: Progress | None = None
) -> Dataset:
    """List a data set and check it: structure, every picture's header, every mask's pixels and size.

    classes: only these, None for all; other classes are then not looked at. Damage within a picture shows when it
    is read (`read_image`), or in `survey`, which decodes everything. A header takes well below a millisecond, a
    mask of a megapixel about 15 ms of one core.

    Raises DatasetError for a wrong root, an unknown class, and every fault of `survey` that shows without decoding
    pictures; the first is named.
    """
    found = survey(layout, root, classes=classes, whole=False, progress=progress)
    if found.faults:
        others = len(found.faults) - 1
        more = f" (and {others} more fault{'s' if others > 1 else ''})" if others else ""
        raise DatasetError(found.faults[0] + more)
    return found.dataset


def survey(
    layout: Layout,
    root: Path,
    *,
    classes: Sequence[str] | None = None,
    whole: bool = True,
    progress: Progress | None = None,
) -> Survey:
    """Look through a data set and list every fault.

    Faults: an empty folder, a defective picture without mask or with one of another size, a mask that marks
    nothing (pixel figures would take the defect for good) or belongs to no picture, a picture in another format
    than JPEG or PNG or, where it is read as a `whole`, one with damage anywhere in it.

    Raises DatasetError where there is nothing to look through: a wrong root, an unknown class.
    """
    try:
        names = _chosen(layout, root, classes)
        listing = READERS[layout].read(root, names)
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read: {error.strerror}") from error
    dataset = Dataset(layout=layout, root=root, classes=tuple(listing.classes))
    sizes: dict[str, set[Size]] = {name: set() for name in names}
    faults = list(listing.faults)
    for name, size, fault in _examined(dataset, whole, progress):
        sizes[name] |= {size} if size else set()
        faults += [fault] if fault else []
    return Survey(
        dataset=dataset, faults=tuple(faults), sizes={name: tuple(sorted(sizes[name])) for name in names}
    )


def _chosen(layout: Layout, root: Path, classes: Sequence[str] | None) -> list[str]:
    """The names of the classes to read, in order. Raises DatasetError for a wrong root or an unknown class."""
    names = READERS[layout].class_names(root)
    if not names:
        raise DatasetError(_wrong_root(layout, root))
    if classes is None:
        return names
    unknown = [name for name in classes if name not in names]
    if unknown or not classes:
        asked = ", ".join(unknown) or "none"
        raise DatasetError(f"{root}: expected classes out of {', '.join(names)}; asked for {asked}")
    return [name for name in names if name in classes]


def _wrong_root(layout: Layout, root: Path) -> str:
    """What was expected and, where it is near, where it may be."""
    if not root.is_dir():
        return f"{root}: {'is no folder' if root.exists() else 'no such folder'}"
    message = f"{root}: is no {layout} data set; expected {READERS[layout].expects}"
    near = (path for path in (*subfolders(root), *root.resolve().parents[:3]) if _is_one(layout, path))
    if layout != "folder" and (meant := next(near, None)) is not None:  # nearly anything looks like a folder
        return f"{message}. Is it {meant}?"
    others = (name for name in READERS if _is_one(name, root))
    if (other := next(others, None)) is not None:
        return f"{message}. It looks like layout {other}"
    return message


def _is_one(layout: Layout, path: Path) -> bool:
    try:
        return bool(READERS[layout].class_names(path))
    except (OSError, DatasetError):  # only a hint
        return False


def _examined(
    dataset: Dataset, whole: bool, progress: Progress | None
) -> Iterator[tuple[str, Size | None, str | None]]:
    """(class, size, fault) of every picture; decoding leaves the interpreter free, so threads help."""
    work = [(each.name, item) for each in dataset.classes for item in _everything(each.train, each.test)]
    with ThreadPoolExecutor() as pool:
        answers = pool.map(partial(_examine, whole=whole), [item for _, item in work])
        for done, ((name, _), (size, fault)) in enumerate(zip(work, answers, strict=True), start=1):
            yield name, size, fault
            if progress is not None:
                progress("checking pictures", done, len(work))


def _everything(train: Iterable[Path], test: Iterable[TestItem]) -> Iterator[TestItem]:
    yield from (TestItem(image=path, mask=None, defect=GOOD) for path in train)
    yield from test


def _examine(item: TestItem, *, whole: bool) -> tuple[Size | None, str | None]:
    size = None
    try:
        size = read_size(item.image)
        if whole:
            read_image(item.image)
        if item.mask is not None:
            _check_mask(item.mask, item.image, size)
    except DatasetError as error:
        return size, str(error)
    return size, None


def _check_mask(path: Path, image: Path, size: Size) -> None:
    height, width = read_size(path)
    if (height, width) != size:
        raise DatasetError(f"{path}: is {width}x{height}, its picture {image} is {size[1]}x{size[0]}")
    if not read_full_mask(path).any():
        raise DatasetError(f"{path}: marks no pixel, but {image} is listed as defective")
