"""The unit and its files, installed into a folder and judged by systemd itself."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
    for program in ("opt/aprilgan/current/bin/aprilgan-daemon", "usr/bin/nvidia-modprobe", "bin/kill"):
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
    command = ["sh", str(DEPLOY / "install.sh"), "--files-only", "--root", str(root)]
    subprocess.run(command, check=True, timeout=30)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def enable_drop_ins(root: Path) -> None:
    for example in (root / "etc/systemd/system" / f"{UNIT}.d").glob("*.conf.example"):
        example.rename(example.with_suffix(""))


@needs_systemd
@pytest.mark.parametrize("drop_ins", [False, True], ids=["plain", "gpu and network"])
def test_systemd_finds_nothing_wrong_with_the_unit(root: Path, drop_ins: bool) -> None:
    if drop_ins:
        enable_drop_ins(root)
    done = run("systemd-analyze", "verify", "--man=no", f"--root={root}", UNIT)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("drop_ins", [False, True], ids=["plain", "gpu and network"])
def test_the_unit_is_exposed_by_at_most_two(root: Path, drop_ins: bool) -> None:
    if drop_ins:
        enable_drop_ins(root)
    done = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", f"--root={root}", UNIT
    )
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
    assert service["ExecReload"].endswith("-HUP $MAINPID")


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


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users and gives folders to them")
def test_systemd_itself_makes_the_user_and_the_folders_from_our_files(tmp_path: Path) -> None:
    install(tmp_path)
    for command in (
        ("systemd-sysusers", f"--root={tmp_path}", str(tmp_path / "usr/lib/sysusers.d/aprilgan.conf")),
        ("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(tmp_path / "usr/lib/tmpfiles.d/aprilgan.conf")),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    users = dict(line.split(":", 3)[::2] for line in (tmp_path / "etc/passwd").read_text().splitlines())
    uid = int(users["aprilgan"].split(":")[0])
    state, secrets = tmp_path / "var/lib/aprilgan", tmp_path / "etc/aprilgan/credentials"
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (uid, 0o750)
    assert (secrets.stat().st_uid, secrets.stat().st_mode & 0o777) == (0, 0o700)


def test_the_scripts_are_posix_shell_without_a_fault_that_a_checker_sees() -> None:
    scripts = sorted(map(str, DEPLOY.glob("*.sh")))
    assert len(scripts) == 6
    for script in scripts:
        assert run("sh", "-n", script).stderr == ""
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    checker = shutil.which("shellcheck", path=beside_python)
    if checker:
        done = run(checker, "--external-sources", f"--source-path={DEPLOY.parent}", *scripts)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_command_of_root_runs_as_the_service_with_the_secrets_that_root_holds(open_folder: Path) -> None:
    """As on a real machine, but for the names: the user is nobody, the folders are below this one."""
    secret = open_folder / "etc/credentials/APRILGAN_RECORDS__URL"
    secret.parent.mkdir(parents=True)
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    (open_folder / "run").mkdir()
    text = (DEPLOY / "as-service.sh").read_text()
    for name, here in {
        "user=aprilgan": "user=nobody",
        '-g "$user"': "-g nogroup",
        '"$user:$user"': '"$user:nogroup"',
        '--regid="$user"': "--regid=nogroup",
        "etc=$root/etc/aprilgan": f"etc={open_folder}/etc",
        "/run/aprilgan.": f"{open_folder}/run/aprilgan.",
    }.items():
        assert name in text
        text = text.replace(name, here)
    script = open_folder / "as-service.sh"
    script.write_text(text)
    done = run("sh", str(script), "", "sh", "-c", 'id -un; cat "$CREDENTIALS_DIRECTORY"/*; echo "$HOME"')
    assert done.stdout.splitlines() == ["nobody", "hunter2", "/var/lib/aprilgan"], done.stderr
    assert list((open_folder / "run").iterdir()) == []
