"""The likeliest mistakes, each made for real, found by `doctor` under its check's name, with what to do."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.errors import DeviceError
from daemon.admin.doctor.machine import TIME_ERROR, clock
from daemon.admin.doctor.state_folder import room
from daemon.outbox import Outbox
from daemon.records import Records
from daemon.storage import DiskLimits
from tests.daemon.admin.conftest import Answer, Installation
from tests.tiny import write_tiny_clip

Admin = Callable[..., Answer]
AS_ROOT = os.geteuid() == 0


class Doctor:
    """`doctor --json` on an installation whose mistakes tests make."""

    def __init__(self, admin: Admin, installation: Installation) -> None:
        self._admin = admin
        self.installation = installation

    def configure(self, text: str) -> None:
        """Add to the configuration."""
        self.installation.config.write_text(self.installation.config.read_text() + text)

    def finds(self, check: str, outcome: str, *, code: int) -> dict[str, Any]:
        """Run it; the finding of that check, which must say what to do."""
        answer = self._admin("doctor", "--json")
        assert answer.code == code, answer.out + answer.err
        found = next(finding for finding in answer.json["checks"] if finding["check"] == check)
        assert found["outcome"] == outcome, found
        assert found["remedy"], found
        return dict(found)


@pytest.fixture
def doctor(admin: Admin, installation: Installation) -> Doctor:
    return Doctor(admin, installation)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('[ingets]\nbind = "tcp://127.0.0.1:5555"\n', "ingest"),
        ("[batching]\nmax_dely_ms = 5\n", "max_delay_ms"),
        ("[[lines]]\nid = 9\ndeadlin_ms = 300\n", "deadline_ms"),
    ],
)
def test_a_misspelt_setting_is_found_with_the_name_that_was_meant(doctor: Doctor, text: str, meant: str) -> None:
    doctor.configure(text)
    assert doctor.finds("settings", "configuration", code=78)["remedy"] == f"did you mean {meant!r}?"


def test_a_misspelt_section_of_the_environment_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_INGETS__BIND", "tcp://127.0.0.1:5555")
    assert doctor.finds("settings", "configuration", code=78)["remedy"] == "did you mean 'ingest'?"


def test_a_camera_at_a_line_that_is_not_there_is_found(doctor: Doctor) -> None:
    doctor.configure('[[cameras]]\nname = "far"\nline = 17\n')
    assert "id = 17" in doctor.finds("settings", "configuration", code=78)["remedy"]


def test_a_line_that_no_camera_looks_at_is_found(doctor: Doctor) -> None:
    assert "line = 5" in doctor.finds("lines", "note", code=0)["remedy"]


def test_a_port_that_another_program_took_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("APRILGAN_INGEST__BIND", f"tcp://127.0.0.1:{port}")
        assert f"sport = :{port}" in doctor.finds("ingest.bind", "unavailable", code=69)["remedy"]


def test_an_address_of_another_machine_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_INGEST__ALLOW_INSECURE", "true")
    monkeypatch.setenv("APRILGAN_INGEST__BIND", "tcp://192.0.2.1:5555")
    assert "192.0.2.1" in doctor.finds("ingest.bind", "configuration", code=78)["detail"]


def test_pages_for_the_whole_network_are_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_HTTP__BIND", "0.0.0.0:9108")
    assert "127.0.0.1" in doctor.finds("http.bind", "configuration", code=78)["remedy"]


def test_sockets_that_stand_open_without_keys_are_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_INGEST__ALLOW_INSECURE", "true")
    monkeypatch.setenv("APRILGAN_INGEST__BIND", "tcp://0.0.0.0:0")
    assert "curve" in doctor.finds("security", "note", code=0)["remedy"]


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("APRILGAN_STATE__DIR", "/tmp/" + "long/" * 20, "state.path"),
        ("APRILGAN_INGEST__BIND", "ipc:///tmp/" + "long/" * 20 + "socket", "ingest.bind"),
    ],
)
def test_a_path_too_long_for_a_socket_is_found(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "shorter" in doctor.finds(check, "configuration", code=78)["remedy"]


def test_a_state_folder_that_is_none_is_found(doctor: Doctor) -> None:
    doctor.installation.state.write_text("a file in its place")
    assert "no folder" in doctor.finds("state", "configuration", code=78)["remedy"]


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_found(doctor: Doctor) -> None:
    doctor.installation.state.mkdir(mode=0o500)
    assert "chown" in doctor.finds("state", "configuration", code=78)["remedy"]


@pytest.mark.skipif(not AS_ROOT, reason="only root can give a file to somebody else")
def test_what_a_command_as_root_left_in_the_services_folder_is_found(doctor: Doctor, records: Records) -> None:
    for entry in (doctor.installation.state, *doctor.installation.state.iterdir()):
        os.chown(entry, 65534, -1)
    left = doctor.installation.state / "banks"
    left.mkdir()
    found = doctor.finds("state.owner", "configuration", code=78)
    assert str(left) in found["detail"]
    assert "chown -R" in found["remedy"]


def test_another_daemon_on_the_same_state_folder_is_found(doctor: Doctor) -> None:
    other = Outbox(doctor.installation.state / "outbox.db")
    try:
        found = doctor.finds("state.daemon", "unavailable", code=69)
    finally:
        other.close()
    assert f"process {os.getpid()}" in found["detail"]


def test_a_database_of_an_older_program_is_found(doctor: Doctor, records: Records) -> None:
    records.downgrade("base")
    assert doctor.finds("sql", "unavailable", code=69)["remedy"] == "aprilgan-admin db upgrade"


def test_a_database_that_does_not_answer_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_RECORDS__URL", "postgresql://inspector:secret@127.0.0.1:1/records")
    assert "start the server" in doctor.finds("sql", "unavailable", code=69)["remedy"]


def test_a_wrong_password_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, postgres: Any) -> None:
    url = postgres.database()
    ask_for_passwords(url, "inspector", "right")
    wrong = url.replace("tests@", "inspector:wrong-secret@")
    monkeypatch.setenv("APRILGAN_RECORDS__URL", wrong)
    found = doctor.finds("sql", "unavailable", code=69)
    assert "credential.sh records.url" in found["remedy"]
    assert "wrong-secret" not in str(found)


def ask_for_passwords(url: str, user: str, password: str) -> None:
    """A role of the server that only comes in with its password, once the server has read its rules again."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")  # type: ignore[arg-type]
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            psycopg.connect(url.replace("tests@", f"{user}@")).close()
        except psycopg.OperationalError:
            return
    raise AssertionError("the server never read its rules again")


def test_a_redis_that_does_not_answer_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_REDIS__URL", "redis://127.0.0.1:1/0")
    assert "embedded" in doctor.finds("redis", "unavailable", code=69)["remedy"]


def test_weights_that_are_not_there_are_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_MODEL__WEIGHTS", "/nowhere/weights.safetensors")
    assert "bring /nowhere/weights.safetensors" in doctor.finds("weights", "configuration", code=78)["remedy"]


def test_a_gpu_that_is_asked_for_and_not_there_is_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.device import choose_device

    try:
        choose_device("cuda")
    except DeviceError:
        monkeypatch.setenv("APRILGAN_MODEL__DEVICE", "cuda")
    else:
        monkeypatch.setenv("APRILGAN_MODEL__DEVICE", "cuda:99")
    assert "10-gpu.conf" in doctor.finds("gpu", "configuration", code=78)["remedy"]


def test_a_line_without_a_bank_is_found(doctor: Doctor, records: Records) -> None:
    found = doctor.finds("banks", "note", code=0)
    assert "line 4, 5" in found["detail"]
    assert found["remedy"].startswith("aprilgan-admin enroll --line 4")


def test_a_bank_whose_file_is_gone_is_found(doctor: Doctor, admin: Admin, records: Records) -> None:
    assert admin("enroll", "--line", 4, doctor.installation.good).code == 0
    assignment = records.line(4)
    assert assignment is not None
    (doctor.installation.state / assignment.bank_path).unlink()
    assert "backup" in doctor.finds("banks", "configuration", code=78)["remedy"]


def test_a_bank_of_another_encoder_is_found(
    doctor: Doctor, admin: Admin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert admin("enroll", "--line", 4, doctor.installation.good).code == 0
    other = write_tiny_clip(tmp_path / "other", seed=1)
    monkeypatch.setenv("APRILGAN_MODEL__WEIGHTS", str(other.weights))
    found = doctor.finds("banks", "configuration", code=78)
    assert "was made with" in found["detail"]
    assert "enroll --line 4" in found["remedy"]


def test_a_server_without_a_key_pair_and_a_secret_that_others_may_read_are_found(
    doctor: Doctor, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APRILGAN_INGEST__SECURITY", "curve")
    assert "keys new --server" in doctor.finds("keys", "configuration", code=78)["remedy"]
    assert admin("keys", "new", "--server").code == 0
    assert "keys new cam4" in doctor.finds("keys", "note", code=0)["remedy"]
    (doctor.installation.state / "keys" / "server.key_secret").chmod(0o644)
    assert "chmod 600" in doctor.finds("keys", "configuration", code=78)["remedy"]


def test_a_daemon_that_does_not_run_is_found(doctor: Doctor) -> None:
    assert "systemctl start aprilgan-daemon" in doctor.finds("daemon", "note", code=0)["remedy"]


def test_a_disk_is_judged_by_the_limits_that_the_daemon_keeps() -> None:
    limits = DiskLimits(low=400, critical=200, full=100)
    found = [room(Path("/state"), free, limits) for free in (400, 399, 199, 99)]
    assert [each.outcome for each in found] == ["ok", "note", "unavailable", "unavailable"]
    assert [each.remedy is None for each in found] == [True, False, False, False]


def test_only_a_clock_that_the_kernel_calls_unsynchronized_is_found() -> None:
    assert [clock(state).outcome for state in (0, 4, TIME_ERROR, -1)] == ["ok", "ok", "note", "ok"]
    assert "ntp" in str(clock(TIME_ERROR).remedy)


def test_people_see_what_to_do_beside_each_finding(admin: Admin) -> None:
    answer = admin("doctor")
    assert re.search(r"daemon +note .*systemctl start aprilgan-daemon", answer.out)
