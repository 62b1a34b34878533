"""What a plant writes into [mqtt.*] and [webhooks.*], and that its secrets stay in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.admin.doctor.command import effective
from daemon.clock import SystemClock
from daemon.observer import Observer
from daemon.outputs.outputs import outputs_of
from daemon.settings import ConfigurationError, load_settings

LINE = "[[lines]]\nid = 4\n"
BOTH = """
[mqtt.plant]
url = "mqtts://broker.example:8884"
topic = "plant/pc7"
username = "pc7"
[webhooks.mes]
url = "https://mes.example/hook/s3cretpath"
lines = [4]
decisions = "reject,review"
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "aprilgan.toml"
        path.write_text(LINE + text, encoding="utf-8")
        return path

    return _write


def test_both_kinds_are_read_by_name(write) -> None:
    settings = load_settings(write(BOTH))
    assert settings.mqtt["plant"].address == ("broker.example", 8884, True)
    assert settings.webhooks["mes"].wanted == {"reject", "review"}
    assert settings.webhooks["mes"].lines == (4,)


def test_secrets_come_from_the_folder_and_are_never_printed(write, monkeypatch, tmp_path) -> None:
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    (secrets / "APRILGAN_MQTT__PLANT__PASSWORD").write_text("hunter2\n")
    (secrets / "APRILGAN_WEBHOOKS__MES__TOKEN").write_text("hunter3\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    settings = load_settings(write(BOTH))
    assert settings.mqtt["plant"].password.get_secret_value() == "hunter2"
    assert settings.webhooks["mes"].token.get_secret_value() == "hunter3"
    for shown in (repr(settings), json.dumps(effective(settings))):
        assert "hunter" not in shown
        assert "s3cretpath" not in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[mqtt.plant]\nurl = "mqtt://broker.example"', "sends in clear"),
        ('[webhooks.mes]\nurl = "http://mes.example/s3cret"', "sends in clear"),
        ('[webhooks.mes]\nurl = "https://me:s3cret@mes.example/"', "no name and password"),
        ('[webhooks.mes]\nurl = "ftp://mes.example/s3cret"', "scheme 'ftp'"),
        ('[webhooks.mes]\nurl = "https://[s3cret"', "no URL"),
        ('[mqtt.plant]\nurl = "mqtt://localhost/s3cret"', "nothing more"),
        ('[mqtt.plant]\nurl = "mqtt://localhost"\ntopic = "a/#"', "mqtt.plant.topic"),
        ('[mqtt.plant]\nurl = "mqtt://localhost"\ndecisions = "bad"', "expected"),
        ('[mqtt.plant]\nurl = "mqtt://localhost"\nlines = [7]', "no line"),
        ('[mqtt.Plant]\nurl = "mqtt://localhost"', "mqtt.Plant"),
        ('[mqtt.plant]\nurl = "mqtt://localhost"\nretries = 3', "retries"),
        ('[mqtt.a]\nurl = "mqtt://localhost"\n[webhooks.a]\nurl = "http://localhost"', "given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_repeating_a_secret(write, text, words) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_settings(write(text))
    assert "s3cret" not in str(caught.value)


def test_a_trusted_network_must_be_said_to_be_one(write) -> None:
    settings = load_settings(write('[mqtt.plant]\nurl = "mqtt://broker.example"\nallow_insecure = true'))
    assert settings.mqtt["plant"].address == ("broker.example", 1883, False)


def test_a_ca_file_that_is_none_is_a_wrong_setting(write, tmp_path) -> None:
    text = f'[webhooks.mes]\nurl = "https://mes.example/"\nca_file = "{tmp_path / "gone.pem"}"'
    with pytest.raises(ConfigurationError, match=r"mes\.ca_file: .*gone\.pem"):
        outputs_of(load_settings(write(text)), state=tmp_path, observer=Observer(), clock=SystemClock())


def test_without_outputs_no_client_library_is_imported() -> None:
    code = "import sys, daemon.service; print([m for m in ('paho', 'httpcore2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
