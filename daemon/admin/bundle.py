"""`bundle`: everything a plant PC without a network needs, in one folder or tar file for a stick.

    wheelhouse/      this program and all that it requires, as installed here (daemon.admin.repack)
    deploy/          install.sh and the files that it plants
    weights/         where asked for
    bundle.txt       NAME=VALUE lines: version, python, python_least, machine, needs_kib
    constraints.txt  the version of every wheel
    SHA256SUMS       the digest of every file above, as sha256sum writes it; install.sh checks it first

The same installation gives the same bytes, so the digest of SHA256SUMS names the bundle.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import Distribution
from pathlib import Path
from typing import Annotated

import typer

from daemon import __version__
from daemon.admin import options
from daemon.admin.output import progress, remark, show_one
from daemon.admin.repack import (
    CannotRepack,
    closure,
    editable_source,
    installed,
    repack,
    requirements_of,
    unpacked_bytes,
)
from daemon.admin.session import Refused

PROGRAM = "aprilgan-inspector"
DIGESTS = "SHA256SUMS"
_ROOM = 1.25
"""Room on the plant PC for byte code, as a share of what the wheels unpack to."""
_NOT_SOURCE = (".*", "var", "build", "shared", "tests", "*.egg-info", "__pycache__")


def bundle(
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR|FILE.tar", help="A folder, or one file (FAT sticks end at 4 GiB a file)."
        ),
    ],
    weights: Annotated[
        list[Path] | None, typer.Option("--weights", metavar="FILE", help="Carry this file too; may be repeated.")
    ] = None,
    deploy: Annotated[
        Path | None, typer.Option("--deploy", metavar="DIR", help="The deploy folder, where it is not found.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make what install.sh installs from on a plant PC without a network: this program as it is installed here."""
    files = _readable(weights or [])
    folder = _deploy_folder(deploy)
    with appearing(out) as draft:
        wheels, lacking = _wheelhouse(draft / "wheelhouse")
        digest = write_stick(draft, wheels, deploy=folder, weights=files, lacking=lacking)
    if lacking:
        remark(
            f"For Python {platform.python_version()} and later patch levels: older ones need {', '.join(lacking)} "
            f"as well; pip install that here, and bundle again, to serve them."
        )
    remark(f"On the plant PC: sudo sh {Path(out.stem if out.suffix == '.tar' else out.name)}/deploy/install.sh")
    show_one(
        {"bundle": str(out), "version": __version__, "wheels": len(wheels), "digest": digest}, as_json=as_json
    )


def write_stick(
    stick: Path,
    wheels: Sequence[Path],
    *,
    deploy: Path,
    weights: Sequence[Path],
    lacking: Sequence[str] = (),
    version: str = __version__,
) -> str:
    """Complete a folder whose wheelhouse holds `wheels`; the digest of its SHA256SUMS.

    lacking: what older patch levels of this Python would need besides, so that the stick is not for them.
    """
    shutil.copytree(deploy, stick / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    for file in weights:
        (stick / "weights").mkdir(exist_ok=True)
        shutil.copy(file, stick / "weights" / file.name)
    pins = sorted("==".join(wheel.name.split("-")[:2]) for wheel in wheels)
    (stick / "constraints.txt").write_text("".join(f"{pin}\n" for pin in pins), encoding="ascii")
    (stick / "bundle.txt").write_text(_about(version, unpacked_bytes(wheels), lacking), encoding="ascii")
    digests = "".join(f"{_sha256(file)}  {file.relative_to(stick)}\n" for file in _all_files(stick))
    (stick / DIGESTS).write_text(digests, encoding="utf-8")
    return _sha256(stick / DIGESTS)


def _about(version: str, unpacked: int, lacking: Sequence[str]) -> str:
    major, minor, patch = platform.python_version_tuple()
    lines = {
        "version": version,
        "python": f"{major}.{minor}",
        "python_least": f"{major}.{minor}.{patch if lacking else 0}",
        "machine": platform.machine(),
        "needs_kib": int(unpacked * _ROOM) // 1024 + 1,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _wheelhouse(folder: Path) -> tuple[list[Path], list[str]]:
    """Wheels of this program and all that it requires, and what an older patch level lacks. Raises Refused."""
    folder.mkdir()
    try:
        program = installed(PROGRAM)
        if program is None:
            raise Refused(f"{PROGRAM} is not installed here: pip install it, or run make setup in the checkout")
        wheels = [_wheel(program, folder)]
        needed = closure(requirements_of(wheels[0]))
        with progress() as advance:
            for done, distribution in enumerate(needed.distributions, start=1):
                wheels.append(_wheel(distribution, folder))
                advance("wheels", done, len(needed.distributions))
    except CannotRepack as error:
        raise Refused(f"cannot make the wheelhouse: {error}") from error
    return wheels, needed.lacking


def _wheel(distribution: Distribution, folder: Path) -> Path:
    source = editable_source(distribution)
    return repack(distribution, folder) if source is None else built(source, folder)


def built(source: Path, folder: Path) -> Path:
    """The wheel of a source folder, built beside it: building leaves files behind. Needs no index."""
    before = set(folder.iterdir())
    with tempfile.TemporaryDirectory(prefix="aprilgan-") as scratch:
        copy = Path(scratch) / "source"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*_NOT_SOURCE))
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "wheel", "--quiet"]
        how = ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
        done = subprocess.run([*pip, *how, str(copy)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(f"the wheel of {source} cannot be built:\n{done.stderr[-2000:]}")
    return (set(folder.iterdir()) - before).pop()


def _deploy_folder(given: Path | None) -> Path:
    """As given, else beside the source, else in this release. Raises Refused."""
    source = Path(__file__).resolve().parents[2]
    places = [given] if given else [source / "deploy", Path(sys.prefix) / "deploy"]
    for place in places:
        if (place / "install.sh").is_file():
            return place
    raise Refused(f"no deploy folder with install.sh in {', '.join(map(str, places))}: name it with --deploy DIR")


def _readable(files: Sequence[Path]) -> list[Path]:
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise Refused(f"expected files of weights, not there: {', '.join(missing)}")
    return list(files)


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A folder to fill; at the end it becomes `out`, or a tar file of that name. Raises Refused."""
    if out.exists():
        raise Refused(f"{out} is there already: name another place, or remove it")
    if not out.parent.is_dir():
        raise Refused(f"expected a folder to write to, {out.parent} is none")
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=out.parent) as scratch:
        draft = Path(scratch) / "stick"
        draft.mkdir()
        yield draft
        if out.suffix == ".tar":
            draft = _tar(draft, Path(scratch) / out.name, out.stem)
        draft.rename(out)


def _tar(folder: Path, file: Path, name: str) -> Path:
    """Owner and times left out, so that the same stick gives the same file."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = "root"
        return entry

    with tarfile.open(file, "w") as archive:
        archive.add(folder, arcname=name, filter=plain)
    return file


def _all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
