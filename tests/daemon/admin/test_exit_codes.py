"""The commands as an operator starts them: real processes, their exit codes, what a machine reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.admin.__main__ import EXIT_CODES, app, main
from daemon.exit_codes import ExitCode
from tests.daemon.admin.conftest import Installation

ROOT = Path(__file__).parents[3]


def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daemon.admin", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_whole_enrolment_as_a_process_prints_json_and_nothing_else(installation: Installation) -> None:
    done = run("--config", installation.config, "enroll", "--line", 4, installation.good, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["line"] == 4
    listed = run("lines", "--json", APRILGAN_CONFIG=str(installation.config))
    assert json.loads(listed.stdout)[0]["bank"] == json.loads(done.stdout)["bank"]


def test_it_runs_from_any_folder_with_the_migrations_of_its_own_installation(
    installation: Installation, tmp_path: Path
) -> None:
    done = run("--config", installation.config, "db", "check", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]


def test_an_unknown_setting_ends_with_78_and_its_name(installation: Installation) -> None:
    with installation.config.open("a") as file:
        file.write("\n[batchnig]\nmax_size = 4\n")
    done = run("--config", installation.config, "lines")
    assert done.returncode == ExitCode.CONFIG
    assert "batchnig" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_down_ends_with_69_without_its_password(installation: Installation) -> None:
    url = "postgresql://user:hunter2@127.0.0.1:1/db"
    done = run("--config", installation.config, "lines", APRILGAN_RECORDS__URL=url)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_listing_needs_no_torch(installation: Installation) -> None:
    program = (
        "import sys; from daemon.admin.__main__ import main; "
        "code = main(sys.argv[1:]); sys.exit(99 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(installation.config), "lines"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


def test_tables_that_were_never_made_end_with_69_and_the_command_that_makes_them(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.state.mkdir()
    (installation.state / "records.db").touch()
    arguments = ["--config", str(installation.config)]
    assert main([*arguments, "lines"]) == ExitCode.UNAVAILABLE
    assert "aprilgan-admin db upgrade" in capsys.readouterr().err
    assert main([*arguments, "db", "check"]) == ExitCode.UNAVAILABLE
    assert main([*arguments, "db", "upgrade"]) == ExitCode.OK
    assert main([*arguments, "db", "check"]) == ExitCode.OK
    assert main([*arguments, "db", "current"]) == ExitCode.OK


@pytest.mark.parametrize(
    "command", ["", "enroll", "calibrate", "lines", "banks", "threshold", "score", "db", "doctor"]
)
def test_every_command_has_help_that_needs_no_settings(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"APRILGAN_CONFIG": "/nowhere.toml"})
    assert done.exit_code == 0
    assert "Usage: aprilgan-admin" in done.output


def test_every_error_that_is_mapped_is_mapped_by_its_most_special_type() -> None:
    for position, (kind, _) in enumerate(EXIT_CODES):
        assert not any(issubclass(kind, earlier) for earlier, _ in EXIT_CODES[:position]), kind
