"""The unit and its files, installed into a folder and judged by systemd itself."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = "aprilgan-daemon.service"
MOST_EXPOSED = "20"
"""Exposure 2.0, as `systemd-analyze --threshold` counts."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's file tree with our files planted, and stubs of what the unit refers to."""
    install(tmp_path)
    for program in ("opt/aprilgan/venv/bin/aprilgan-daemon", "usr/bin/nvidia-modprobe"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    for target in ("sysinit", "basic", "shutdown", "multi-user", "local-fs", "network", "time-sync"):
        (units / f"{target}.target").write_text("[Unit]\nDescription=a stub\n")
    return tmp_path


def install(root: Path) -> None:
    subprocess.run(
        ["sh", str(DEPLOY / "install.sh")], env={**os.environ, "DESTDIR": str(root)}, check=True, timeout=30
    )


def enable_drop_ins(root: Path) -> None:
    for example in (root / "etc/systemd/system" / f"{UNIT}.d").glob("*.conf.example"):
        example.rename(example.with_suffix(""))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=30, check=False)


@needs_systemd
@pytest.mark.parametrize("drop_ins", [False, True], ids=["plain", "gpu and network"])
def test_systemd_finds_nothing_wrong_with_the_unit(root: Path, drop_ins: bool) -> None:
    if drop_ins:
        enable_drop_ins(root)
    done = analyze("verify", "--man=no", f"--root={root}", UNIT)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("drop_ins", [False, True], ids=["plain", "gpu and network"])
def test_the_unit_is_exposed_by_at_most_two(root: Path, drop_ins: bool) -> None:
    if drop_ins:
        enable_drop_ins(root)
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", f"--root={root}", UNIT)
    assert done.returncode == 0, done.stdout


def test_the_unit_gives_the_drain_more_time_than_it_takes_and_signals_the_main_process_alone() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > 20
    assert "78" in service["RestartPreventExitStatus"].split()


def test_installing_again_keeps_an_edited_configuration_and_renews_the_unit(tmp_path: Path) -> None:
    install(tmp_path)
    configuration = tmp_path / "etc/aprilgan/aprilgan.toml"
    unit = tmp_path / "etc/systemd/system" / UNIT
    configuration.write_text("# mine\n")
    unit.write_text("# old\n")
    install(tmp_path)
    assert configuration.read_text() == "# mine\n"
    assert "Type=notify" in unit.read_text()
    assert configuration.stat().st_mode & 0o007 == 0
