"""Settings: what a plant writes is what the daemon runs with, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.settings import ConfigurationError, load_settings

LINE_4 = '[[lines]]\nid = 4\n[[cameras]]\nname = "top"\nline = 4\n'


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "aprilgan.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def test_without_a_file_the_defaults_of_the_contract_hold(monkeypatch):
    monkeypatch.delenv("APRILGAN_CONFIG", raising=False)
    settings = load_settings()
    assert (settings.ingest.bind, settings.publish.bind) == ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556")
    assert (settings.http.bind, settings.model.preset, settings.heatmaps.keep) == (
        "127.0.0.1:9108",
        "lite",
        "reject,review",
    )
    assert settings.redis_embedded
    assert settings.records_url.startswith("sqlite:///")


def test_lines_and_cameras_are_read_and_found(write):
    settings = load_settings(write(LINE_4))
    assert settings.line(4).deadline_ms == 500
    assert settings.camera("top").color == "bgr"
    assert settings.line(5) is None
    assert settings.camera("side") is None


def test_the_environment_is_stronger_than_the_file(write, monkeypatch):
    monkeypatch.setenv("APRILGAN_BATCHING__MAX_SIZE", "8")
    monkeypatch.setenv("APRILGAN_MODEL__STAGES", "3,5")
    settings = load_settings(write("[batching]\nmax_size = 2\nmax_delay_ms = 7\n"))
    assert (settings.batching.max_size, settings.batching.max_delay_ms) == (8, 7)
    assert settings.model.stages == (3, 5)


def test_the_file_is_found_through_the_environment(write, monkeypatch):
    monkeypatch.setenv("APRILGAN_CONFIG", str(write('[model]\npreset = "sdp"\n')))
    assert load_settings().model.preset == "sdp"


def test_a_secret_comes_from_the_credentials_folder_and_is_never_printed(write, monkeypatch, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "APRILGAN_RECORDS__URL").write_text("postgresql://inspector:hunter2@db/records\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    settings = load_settings(write(LINE_4))
    assert settings.records_url == "postgresql://inspector:hunter2@db/records"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[ingest]\nbnid = 1\n", "ingest.bnid"),
        ("[ingset]\n", "ingset"),
        ('[[lines]]\nid = 4\nspeed = "fast"\n', "lines.0.speed"),
        ("[model]\ndevice = 3\n", "model.device"),
        ("[[lines]]\nid = 4\n[[lines]]\nid = 4\n", "given twice"),
        (LINE_4 + '[[cameras]]\nname = "top"\nline = 4\n', "given twice"),
        ('[[lines]]\nid = 4\n[[cameras]]\nname = "top"\nline = 5\n', "looks at line 5; configured are"),
        ('[[lines]]\nid = 4\n[[cameras]]\nname = "../top"\nline = 4\n', "cameras.0.name"),
        ('[[lines]]\nid = 4\nproduct = "a/b"\n', "lines.0.product"),
        ('[heatmaps]\nkeep = "rejct"\n', "rejct"),
        ('[ingest]\nbind = "tcp://0.0.0.0:5555"\n', "loopback"),
        ('[publish]\nbind = "tcp://*:5556"\n', "loopback"),
        ('[publish]\nbind = "tcp://0.0.0.0:5556"\n', "loopback and ipc"),
        ('[ingest]\nbind = "tcp://*:5555"\n', "loopback and ipc"),
        ('[ingest]\nbind = "tcp://127.0.0.1.example:5555"\n', "loopback and ipc"),
        ('[ingest]\nsecurity = "plain"\n', "ingest.security"),
        ("[[lines\n", "not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(write, text, words):
    with pytest.raises(ConfigurationError, match=words):
        load_settings(write(text))


def test_a_trusted_network_must_be_said_to_be_one(write):
    text = '[ingest]\nbind = "tcp://0.0.0.0:5555"\nallow_insecure = true\n'
    assert load_settings(write(text)).ingest.bind == "tcp://0.0.0.0:5555"


@pytest.mark.parametrize("name", ["APRILGAN_INGSET__BIND", "APRILGAN_INGEST__BNID", "APRILGAN_NONSENSE"])
def test_a_misspelt_environment_variable_is_refused_whatever_part_is_wrong(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError):
        load_settings()


def test_a_bad_secret_is_named_but_its_value_is_not_repeated(write, monkeypatch, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "APRILGAN_HTTP__BINDD").write_text("hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with pytest.raises(ConfigurationError) as refused:
        load_settings(write(LINE_4))
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_settings(tmp_path / "absent.toml")


def test_with_curve_the_sockets_may_leave_loopback(write):
    bind = 'bind = "tcp://0.0.0.0:'
    settings = load_settings(write(f'[ingest]\nsecurity = "curve"\n{bind}5555"\n[publish]\n{bind}5556"\n'))
    assert settings.ingest.security == "curve"
