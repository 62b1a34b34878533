"""`keys`: what it writes is private, what it prints is public, and each change is one whole file."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.admin.doctor.command import effective
from daemon.authorized_keys import KeyRing, Role, authorized_file
from daemon.curve import server_pair
from daemon.key_files import new_pair, read_pair
from daemon.settings import load_settings
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def ring(installation: Installation) -> KeyRing:
    return KeyRing(authorized_file(installation.state))


def test_a_new_cameras_pair_is_written_private_and_let_in(
    admin: Admin, installation: Installation, out: Path
) -> None:
    answer = admin("keys", "new", "cam4", "--out", out, "--json")
    pair = read_pair(out / "cam4.key_secret")
    assert stat.S_IMODE((out / "cam4.key_secret").stat().st_mode) == 0o600
    assert (answer.code, answer.json["public_key"], answer.json["line"]) == (0, pair.public, 4)
    assert ring(installation).holder(pair.public, Role.CAMERA) == "cam4"
    assert pair.secret not in answer.out + answer.err


def test_a_key_made_elsewhere_is_authorized_by_its_file_or_its_text(
    admin: Admin, installation: Installation, out: Path
) -> None:
    admin("keys", "new", "scada", "--subscriber", "--out", out)
    text = new_pair().public
    assert admin("keys", "authorize", "cam4", text).code == 0
    assert admin("keys", "authorize", "cam4", text).code == 0  # said twice, meant once
    assert admin("keys", "authorize", "scada", out / "scada.key", "--subscriber").code == 0
    rows = admin("keys", "list", "--json").json
    assert [(row["name"], row["role"], row["line"]) for row in rows] == [
        ("cam4", "camera", 4),
        ("scada", "subscriber", None),
    ]


def test_revoke_takes_all_keys_of_a_name_or_the_one_that_is_meant(
    admin: Admin, installation: Installation, out: Path
) -> None:
    keys = [new_pair().public for _ in range(3)]
    for key in keys:
        admin("keys", "authorize", "cam4", key)
    assert admin("keys", "revoke", "cam4", "--key", keys[1], "--json").json["revoked"] == [keys[1]]
    assert admin("keys", "revoke", "cam4", "--json").json["revoked"] == [keys[0], keys[2]]
    answer = admin("keys", "revoke", "cam4")
    assert (answer.code, "camera cam4 has no key" in answer.err) == (1, True)
    assert admin("keys", "list", "--json").json == []


def test_the_servers_pair_is_made_once_and_found_by_the_daemon(admin: Admin, installation: Installation) -> None:
    answer = admin("keys", "new", "--server", "--json")
    pair = server_pair(load_settings(installation.config))
    assert answer.json["public_key"] == pair.public
    assert stat.S_IMODE((installation.state / "keys").stat().st_mode) == 0o700
    assert pair.secret not in answer.out + answer.err
    again = admin("keys", "new", "--server")
    assert (again.code, "never overwritten" in again.err) == (1, True)
    assert server_pair(load_settings(installation.config)) == pair


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["new", "nobody"], 1, "configured cameras: cam4"),
        (["new", "../cam4"], 2, "letters, digits"),
        (["new"], 2, "--server"),
        (["new", "cam4", "--server"], 2, "--server"),
        (["new", "cam4", "--out", "absent"], 1, "absent"),
        (["authorize", "cam4", "no-such-file"], 1, "40 Z85"),
        (["authorize", "nobody", "x" * 40], 1, "nobody"),
        (["authorize", "../x", "x" * 40, "--subscriber"], 2, "letters, digits"),
        (["revoke", "cam4"], 1, "has no key"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    admin: Admin, installation: Installation, arguments: list[str], code: int, words: str
) -> None:
    answer = admin("keys", *arguments)
    assert answer.code == code
    assert words in answer.err
    assert not authorized_file(installation.state).exists()


def test_another_cameras_key_is_not_given_away(admin: Admin, installation: Installation, out: Path) -> None:
    admin("keys", "new", "cam4", "--out", out)
    answer = admin("keys", "authorize", "scada", out / "cam4.key", "--subscriber")
    assert (answer.code, "belongs to camera cam4" in answer.err) == (1, True)


def test_a_damaged_list_is_refused_and_never_mended_by_forgetting(
    admin: Admin, installation: Installation, out: Path
) -> None:
    admin("keys", "new", "cam4", "--out", out)
    file = authorized_file(installation.state)
    file.write_bytes(file.read_bytes()[:-9])
    damaged = file.read_bytes()
    for arguments in (["list"], ["revoke", "cam4"], ["new", "scada", "--subscriber", "--out", out]):
        answer = admin("keys", *arguments)
        assert (answer.code, "is damaged" in answer.err) == (1, True)
    assert file.read_bytes() == damaged
    assert not (out / "scada.key_secret").exists()


def test_list_says_that_nobody_is_asked_without_curve(admin: Admin) -> None:
    answer = admin("keys", "list")
    assert "asks nobody for a key" in answer.err
    assert "No key is authorized." in answer.out + answer.err


def test_doctor_says_what_curve_still_needs(
    admin: Admin, installation: Installation, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finding() -> tuple[str, str]:
        checks = admin("doctor", "--json").json["checks"]
        return next((check["outcome"], check["detail"]) for check in checks if check["check"] == "keys")

    assert finding() == ("ok", 'not needed: ingest.security = "none"')
    monkeypatch.setenv("APRILGAN_INGEST__SECURITY", "curve")
    outcome, detail = finding()
    assert (outcome, "aprilgan-admin keys new --server" in detail) == ("configuration", True)
    admin("keys", "new", "--server")
    outcome, detail = finding()
    assert (outcome, "without a key: cam4" in detail) == ("note", True)
    admin("keys", "new", "cam4", "--out", out)
    assert finding()[0] == "ok"
    authorized_file(installation.state).write_text("{")
    assert finding()[0] == "configuration"


def test_a_secret_in_the_settings_is_used_and_never_shown(
    admin: Admin, installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = new_pair()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "APRILGAN_INGEST__SERVER_SECRET_KEY").write_text(pair.secret + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("APRILGAN_INGEST__SECURITY", "curve")
    settings = load_settings(installation.config)
    assert server_pair(settings) == pair
    assert pair.secret not in repr(settings) + str(effective(settings))
    answer = admin("doctor")
    assert pair.public in answer.out
    assert pair.secret not in answer.out + answer.err
    (credentials / "APRILGAN_INGEST__SERVER_SECRET_KEY").write_text(pair.secret[:-1])
    answer = admin("doctor")
    assert "ingest.server_secret_key" in answer.out
    assert pair.secret[:-1] not in answer.out + answer.err
