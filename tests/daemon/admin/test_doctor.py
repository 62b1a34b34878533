"""`doctor`: finds what is missing, changes nothing, and keeps secrets."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.admin.doctor import Finding, exit_code
from daemon.embedded_redis import EmbeddedRedis
from tests.daemon.admin.conftest import Answer, Installation, answering

Admin = Callable[..., Answer]
SECRET = "hunter2"


def outcomes(answer: Answer) -> dict[str, str]:
    return {finding["check"]: finding["outcome"] for finding in answer.json["checks"]}


@pytest.fixture
def redis_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    server = EmbeddedRedis(folder / "redis.sock", folder)
    server.start()
    yield server.url
    server.stop()
    shutil.rmtree(folder)


def test_a_fresh_installation_passes_and_is_left_untouched(admin: Admin, installation: Installation) -> None:
    answer = admin("doctor", "--json")
    assert answer.code == 0
    assert answer.json["ok"]
    found = outcomes(answer)
    assert found["weights"] == "ok"
    assert (found["redis"], found["sql"], found["daemon"]) == ("note", "note", "note")
    assert not installation.state.exists()


def test_it_prints_the_effective_settings_for_people(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APRILGAN_BATCHING__MAX_DELAY_MS", "7.5")
    answer = admin("doctor")
    assert "batching.max_delay_ms" in answer.out
    assert "7.5" in answer.out
    assert "sqlite" in answer.out
    assert "embedded" in answer.out


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_never_printed_even_when_nothing_answers(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setenv("APRILGAN_RECORDS__URL", f"postgresql://user:{SECRET}@127.0.0.1:1/db?sslpassword={SECRET}")
    monkeypatch.setenv("APRILGAN_REDIS__URL", f"redis://user:{SECRET}@127.0.0.1:1/0")
    answer = admin("doctor", *(["--json"] if as_json else []))
    assert answer.code == 69
    assert SECRET not in answer.out + answer.err
    assert "**********" in answer.out


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("APRILGAN_RECORDS__URL", f"nodb://user:{SECRET}@host/db", "sql"),
        ("APRILGAN_REDIS__URL", f"ftp://user:{SECRET}@host", "redis"),
        ("APRILGAN_MODEL__WEIGHTS", "/nowhere/weights.safetensors", "weights"),
        ("APRILGAN_MODEL__DEVICE", "tpu", "gpu"),
    ],
)
def test_what_is_configured_wrong_ends_with_78(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = admin("doctor", "--json")
    assert answer.code == 78
    assert outcomes(answer)[check] == "configuration"
    assert SECRET not in answer.out + answer.err


def test_a_server_that_answers_is_seen(admin: Admin, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("APRILGAN_REDIS__URL", redis_url)
    assert outcomes(admin("doctor", "--json"))["redis"] == "ok"


def test_tables_of_another_revision_are_unavailable_until_upgraded(admin: Admin, records: object) -> None:
    assert outcomes(admin("doctor", "--json"))["sql"] == "ok"
    records.downgrade("base")  # type: ignore[attr-defined]
    answer = admin("doctor", "--json")
    assert (answer.code, outcomes(answer)["sql"]) == (69, "unavailable")
    assert admin("db", "upgrade").code == 0
    assert outcomes(admin("doctor", "--json"))["sql"] == "ok"


def test_a_served_socket_and_a_daemon_that_is_not_ready_are_told(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_ready = {"ok": False, "checks": {"worker": {"ok": False, "detail": "loading"}}}
    with answering(lambda: (503, not_ready)) as address, socket.create_server(("127.0.0.1", 0)) as camera:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        monkeypatch.setenv("APRILGAN_INGEST__BIND", f"tcp://127.0.0.1:{camera.getsockname()[1]}")
        answer = admin("doctor", "--json")
    assert answer.code == 0
    details = {finding["check"]: finding["detail"] for finding in answer.json["checks"]}
    assert details["ingest.bind"].endswith("is served")
    assert details["http.bind"].endswith("is served")
    assert details["publish.bind"].endswith("is free")
    assert details["daemon"] == "runs, not ready: worker: loading"


def test_wrong_configuration_outweighs_a_service_that_is_down() -> None:
    ok, down, wrong = Finding("a", "ok", ""), Finding("b", "unavailable", ""), Finding("c", "configuration", "")
    assert [exit_code([ok]), exit_code([ok, down]), exit_code([down, wrong, ok])] == [0, 69, 78]
