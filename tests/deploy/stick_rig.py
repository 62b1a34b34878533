"""Sticks and machines for tests: a wheel of this tree that borrows the environment's packages, and a root folder.

The wheel is honest but for one thing: instead of 5 GB of requirements it requires `aprilgan-borrowed`, whose only
content is a .pth file that names this environment's site-packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from daemon.admin.bundle import write_stick

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
UNIT = "aprilgan-daemon.service"
PROGRAM, BORROWED = "aprilgan-inspector", "aprilgan-borrowed"
ENTRY_POINTS = (
    "[console_scripts]\naprilgan-daemon=daemon.__main__:main\naprilgan-admin=daemon.admin.__main__:main\n"
)

Edit = Callable[[dict[str, bytes]], None]


def write_wheel(
    folder: Path, name: str, version: str, files: dict[str, bytes], *extra: str, scripts: str = ""
) -> Path:
    """A wheel of these files. extra: further lines of METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *extra, ""])
    entries = {
        **files,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": scripts.encode(),
    }
    record = "".join(f"{place},,\n" for place in (*entries, f"{info}/RECORD"))
    wheel = folder / f"{stem}-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for place, data in {**entries, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(place, data)
    return wheel


def program_files() -> dict[str, bytes]:
    """What the wheel of this tree holds."""
    return {
        str(path.relative_to(REPOSITORY)): path.read_bytes()
        for package in ("core", "daemon", "migrations")
        for path in sorted((REPOSITORY / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def make_stick(
    stick: Path, version: str, edit: Edit = lambda files: None, *, weights: Sequence[Path] = ()
) -> Path:
    """A stick of this tree, under another version and with what `edit` makes of its files."""
    files = program_files()
    files["daemon/__init__.py"] = f'__version__ = "{version}"\n'.encode()
    edit(files)
    house = stick / "wheelhouse"
    borrowed = {"borrowed.pth": f"{sysconfig.get_path('purelib')}\n".encode()}
    wheels = [
        write_wheel(house, PROGRAM, version, files, f"Requires-Dist: {BORROWED}", scripts=ENTRY_POINTS),
        write_wheel(house, BORROWED, "1.0", borrowed),
    ]
    write_stick(stick, wheels, deploy=DEPLOY, weights=weights, version=version)
    return stick


@dataclass
class Machine:
    """A folder that stands for a machine's root, with a stand-in for its systemctl and everything else real."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.root / "etc/aprilgan/aprilgan.toml"

    @property
    def releases(self) -> list[str]:
        """What is installed."""
        return sorted(path.name for path in (self.root / "opt/aprilgan/releases").glob("*"))

    @property
    def in_charge(self) -> str:
        """The release that `current` names."""
        return (self.root / "opt/aprilgan/current").resolve().name

    def script(self, path: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a script of deploy/ on this machine."""
        return self.run("sh", str(path), "--root", str(self.root), *arguments, text=text)

    def install(self, stick: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a stick's install.sh."""
        return self.script(stick / "deploy/install.sh", "--python", sys.executable, *arguments)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask the stand-in."""
        return self.run(self._systemctl(), *arguments)

    def admin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the installed /usr/local/bin/aprilgan-admin."""
        return self.run(str(self.root / "usr/local/bin/aprilgan-admin"), *arguments)

    def _systemctl(self) -> str:
        self.root.mkdir(exist_ok=True)
        stand_in = self.root / "systemctl"
        if not stand_in.exists():
            program = Path(__file__).with_name("fake_systemctl.py")
            stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
            stand_in.chmod(0o755)
        return str(stand_in)

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run anything with this machine's environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("APRILGAN_")}
        stand_in = {"SYSTEMCTL": self._systemctl(), "FAKE_ROOT": str(self.root)}
        return subprocess.run(
            command,
            input=text,
            env={**clean, **stand_in, **self.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
