"""The settings `[mqtt.NAME]` and `[webhooks.NAME]`: where verdicts go besides the reply, PUB and SQL.

Tables by name, not lists, so that a secrets folder can add to one: `APRILGAN_MQTT__PLANT__PASSWORD`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from daemon.flow import Decision

SINK_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"
TOPIC_PATTERN = r"^[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,7}$"

SinkName = Annotated[str, Field(pattern=SINK_PATTERN)]
"""Names a file, a metrics label and a part of an environment name; small letters, since secrets' names are."""


class OutputSettings(BaseModel):
    """What every output has. Seconds.

    ca_file: PEM certificates that vouch for the other end; without one the system's. allow_insecure: send in clear
    over a network. lines: ids, empty for all. decisions: comma-separated, or "all". timeout_s: the longest wait
    for one acknowledgement. attempts: how often a message that the other end refuses is offered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: Path | None = None
    allow_insecure: bool = False
    lines: tuple[int, ...] = ()
    decisions: str = "all"
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    attempts: int = Field(default=5, ge=1, le=1000)

    @property
    def wanted(self) -> frozenset[str]:
        """The decisions to send."""
        if self.decisions == "all":
            return frozenset(Decision)
        return frozenset(part.strip() for part in self.decisions.split(","))

    @model_validator(mode="after")
    def _known(self) -> OutputSettings:
        unknown = self.wanted - frozenset(Decision)
        if unknown:
            raise ValueError(f'decisions: expected "all" or some of {", ".join(Decision)}; got {sorted(unknown)}')
        return self


class MqttSettings(OutputSettings):
    """A broker. url: mqtt://HOST[:1883] or mqtts://HOST[:8883]. topic: everything is published below it.

    client_id: None makes one of the host's and the output's name; two daemons may not share it.
    """

    url: str
    topic: str = Field(default="aprilgan", pattern=TOPIC_PATTERN)
    client_id: str | None = Field(default=None, min_length=1, max_length=64)
    username: str | None = None
    password: SecretStr | None = None
    keepalive_s: int = Field(default=15, ge=2, le=3600)

    @property
    def address(self) -> tuple[str, int, bool]:
        """Host, port, and whether to use TLS."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "mqtts"
        return parts.hostname or "", parts.port or (8883 if secure else 1883), secure

    @model_validator(mode="after")
    def _usable(self) -> MqttSettings:
        parts = _checked_url(self.url, schemes=("mqtt", "mqtts"))
        if parts.path.strip("/") or parts.query:
            raise ValueError("url: expected mqtt://HOST:PORT or mqtts://HOST:PORT and nothing more")
        _refuse_clear_text(parts, self.allow_insecure)
        return self


class WebhookSettings(OutputSettings):
    """An address that every verdict is POSTed to. url: a secret as well, its path may be a password.

    token: sent as `Authorization: Bearer`.
    """

    url: SecretStr
    token: SecretStr | None = None

    @model_validator(mode="after")
    def _usable(self) -> WebhookSettings:
        _refuse_clear_text(
            _checked_url(self.url.get_secret_value(), schemes=("http", "https")), self.allow_insecure
        )
        return self


def _checked_url(url: str, *, schemes: tuple[str, ...]) -> SplitResult:
    """Messages never repeat the URL: it may hold what should not be shown."""
    wanted = f"expected {schemes[0]}://HOST:PORT or {schemes[1]}://HOST:PORT"
    try:
        parts = urlsplit(url)
        found = parts.scheme in schemes and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise ValueError(f"url: {wanted}; this is no URL") from error
    if not found:
        raise ValueError(f"url: {wanted}, got the scheme {parts.scheme!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: expected no name and password in it; they have settings of their own")
    return parts


def _refuse_clear_text(parts: SplitResult, allowed: bool) -> None:
    host = parts.hostname or ""
    if parts.scheme in ("mqtts", "https") or allowed or _is_loopback(host):
        return
    raise ValueError(
        f"url: {parts.scheme}:// sends in clear, which is for loopback; got host {host!r} "
        f"(use {parts.scheme}s://, or allow_insecure = true if the network itself is trusted)"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
