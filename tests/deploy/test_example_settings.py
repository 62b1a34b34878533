"""The example settings show every setting there is, with its true default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from daemon.settings import Settings, load_settings
from tests.deploy.monitoring_files import DEPLOY

EXAMPLE = DEPLOY / "aprilgan.toml"
LEFT_OUT = {"ingest.server_secret_key", "mqtt.password", "webhooks.token"}
"""Secrets: they belong into credentials, and the example says so or INSTALL.md does."""
COMMENTED_OUT = re.compile(r"^# (?=\[|[a-z_]+ = )", re.MULTILINE)


@pytest.fixture(scope="module")
def uncommented() -> str:
    """The example with every setting that it only shows."""
    return COMMENTED_OUT.sub("", EXAMPLE.read_text(encoding="utf-8"))


def settings_of(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section's name and what it may hold; of lists and tables by name, what one of them may hold."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        yield name, next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def shown(document: dict[str, Any], section: str) -> dict[str, Any]:
    """The section's keys; of several lines, cameras or outputs, the first one's."""
    found = document.get(section, {})
    if isinstance(found, list):
        return dict(found[0])
    return dict(next(iter(found.values()), {})) if section in ("mqtt", "webhooks") else dict(found)


def test_every_setting_is_in_the_example_or_is_a_secret(uncommented: str) -> None:
    document = tomllib.loads(uncommented)
    missing = {
        f"{section}.{key}"
        for section, model in settings_of(Settings)
        for key in model.model_fields.keys() - shown(document, section).keys()
    }
    assert missing == LEFT_OUT


def test_what_the_example_shows_is_accepted_when_somebody_takes_the_comment_sign_away(
    uncommented: str, tmp_path: Path
) -> None:
    path = tmp_path / "aprilgan.toml"
    path.write_text(uncommented, encoding="utf-8")
    assert load_settings(path).lines[0].id == 4


def test_what_is_commented_out_is_the_default(uncommented: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    document, plain = tomllib.loads(uncommented), tomllib.loads(text)
    wrong = []
    for section, model in settings_of(Settings):
        for key in shown(document, section).keys() - shown(plain, section).keys():
            value, default = shown(document, section)[key], default_of(model.model_fields[key])
            says_none = re.search(rf"^# {key} = [^#]*# none", text, re.MULTILINE)
            if value != default and not (default is None and says_none):
                wrong.append(f"[{section}] {key} = {value!r}, default {default!r}")
    assert not wrong


def default_of(field: FieldInfo) -> Any:
    """As TOML has it: lists for tuples, nothing hidden; None for a setting that has none."""
    if field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return list(default) if isinstance(default, tuple) else default
