"""Installed distributions as wheels again: what runs here, byte for byte, without an index.

A wheel is a zip of the files that RECORD lists (packaging.python.org, "Binary distribution format"). What pip
makes itself at installation is left out: byte code, the scripts of entry points, its own notes. Two repacks of the
same installation are the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

_PIPS_OWN = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_LEVEL = 1
"""Of deflate: CUDA libraries are 4 GB, and a higher level saves a tenth of them in four times the time."""


class CannotRepack(Exception):
    """A distribution that is missing or was not installed from a wheel; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """What a wheelhouse has to hold besides the program.

    distributions: by name. lacking: requirements that only older patch levels of this Python have, and that are
    not installed here; empty where the wheelhouse serves every patch level.
    """

    distributions: list[Distribution]
    lacking: list[str]


def closure(requires: Iterable[str]) -> Closure:
    """All that these requirements need here, each once; and what they need on an older patch level of this Python.

    redis, for one, requires async-timeout below Python 3.11.3, and Debian 12 has 3.11.2 (seen).

    Raises CannotRepack where what is required here is not installed.
    """
    found: dict[NormalizedName, Distribution] = {}
    lacking: set[str] = set()
    looked: set[tuple[NormalizedName, str, bool]] = set()
    waiting = list(_needed(requires, ""))
    while waiting:
        requirement, here = waiting.pop()
        name = canonicalize_name(requirement.name)
        distribution = found.get(name) or installed(name)
        if distribution is None:
            if here:
                raise CannotRepack(f"{requirement} is required but not installed here")
            lacking.add(name)
            continue
        found[name] = distribution
        for extra in {"", *requirement.extras}:
            if (name, extra, here) not in looked:
                looked.add((name, extra, here))
                waiting += [(each, here and now) for each, now in _needed(distribution.requires or (), extra)]
    return Closure(distributions=[found[name] for name in sorted(found)], lacking=sorted(lacking))


def requirements_of(wheel: Path) -> list[str]:
    """What a wheel requires: for a fresh build more recent than what its editable installation remembers."""
    with ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(metadata).decode("utf-8")).get_all("Requires-Dist", [])


def editable_source(distribution: Distribution) -> Path | None:
    """The source folder of an editable installation, None for a common one."""
    told = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not told.get("dir_info", {}).get("editable"):
        return None
    return Path(str(told["url"]).removeprefix("file://"))


def repack(distribution: Distribution, folder: Path) -> Path:
    """Write the wheel of an installed distribution into a folder; its path. Raises CannotRepack, OSError."""
    wheel = folder / _file_name(distribution)
    info = _info_folder(distribution)
    rows = []
    with ZipFile(wheel, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for place, path in sorted(_files(distribution, info)):
            data = _without_our_interpreter(place, path.read_bytes())
            _add(archive, place, data, executable=bool(path.stat().st_mode & 0o100))
            rows.append(f"{_quoted(place)},sha256={_digest(data)},{len(data)}")
        record = f"{info}/RECORD"
        _add(archive, record, "\n".join([*rows, f"{record},,", ""]).encode("utf-8"))
    return wheel


def installed(name: str) -> Distribution | None:
    """A distribution as it is installed here, None for none. Raises CannotRepack where it came from no wheel."""
    # A source folder on sys.path carries an egg-info of the same name; a wheel's own folder has WHEEL.
    candidates = list(distributions(name=name))
    for candidate in candidates:
        if candidate.read_text("WHEEL") is not None:
            return candidate
    if candidates:
        raise CannotRepack(f"{name} was not installed from a wheel: install it with pip into its own environment")
    return None


def _needed(requires: Iterable[str], extra: str) -> Iterator[tuple[Requirement, bool]]:
    """What holds on this Python (True), or only on the first patch level of its kind (False)."""
    first = f"{sys.version_info.major}.{sys.version_info.minor}.0"
    for requirement in map(Requirement, requires):
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": extra}):
            yield requirement, True
        elif marker.evaluate({"extra": extra, "python_full_version": first}):
            yield requirement, False


def _files(distribution: Distribution, info: str) -> Iterator[tuple[str, Path]]:
    """(place in the wheel, file here) of what the wheel once held."""
    made_by_pip = {entry.name for entry in distribution.entry_points if entry.group.endswith("_scripts")}
    for recorded in distribution.files or ():
        path = Path(str(recorded.locate()))
        if recorded.suffix == ".pyc" or (recorded.parent.name == info and recorded.name in _PIPS_OWN):
            continue
        if ".." not in recorded.parts:
            yield recorded.as_posix(), path
        elif recorded.name not in made_by_pip:
            yield _outside(path.resolve(), info.removesuffix(".dist-info")), path


def _outside(path: Path, stem: str) -> str:
    """Where a wheel keeps a file that goes beside the packages: a script, or data below the prefix."""
    scripts, prefix = (Path(sysconfig.get_path(name)).resolve() for name in ("scripts", "data"))
    if path.parent == scripts:
        return f"{stem}.data/scripts/{path.name}"
    try:
        return f"{stem}.data/data/{PurePosixPath(path.relative_to(prefix))}"
    except ValueError as error:
        raise CannotRepack(f"{stem} has a file outside this environment: {path}") from error


def _info_folder(distribution: Distribution) -> str:
    return next(file.parent.name for file in distribution.files or () if file.name == "WHEEL")


def _file_name(distribution: Distribution) -> str:
    """NAME-VERSION-PYTHON-ABI-PLATFORM.whl, several tags joined as the format wants it."""
    tags = HeaderParser().parsestr(distribution.read_text("WHEEL") or "").get_all("Tag", [])
    parts = (".".join(dict.fromkeys(part)) for part in zip(*(tag.split("-") for tag in tags), strict=True))
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"])
    return "-".join([name, distribution.version, *parts]) + ".whl"


def _without_our_interpreter(place: str, data: bytes) -> bytes:
    """A script begins with this environment's Python; "#!python" lets pip put the new one there."""
    if "/scripts/" in place and data.startswith(b"#!") and b"python" in data.split(b"\n", 1)[0]:
        return b"#!python" + data[data.index(b"\n") :]
    return data


def _add(archive: ZipFile, place: str, data: bytes, *, executable: bool = False) -> None:
    entry = ZipInfo(place)  # dated 1980: a repack tells nothing of when it was made
    entry.external_attr = (0o100755 if executable else 0o100644) << 16
    archive.writestr(entry, data, ZIP_DEFLATED, _LEVEL)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


def _quoted(place: str) -> str:
    return f'"{place}"' if "," in place else place


def unpacked_bytes(wheels: Iterable[Path]) -> int:
    """What the wheels take once they are installed."""
    total = 0
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            total += sum(entry.file_size for entry in archive.infolist())
    return total
