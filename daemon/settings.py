"""Settings: one tree of frozen sections. Only `__main__`, `service` and `admin` see the whole tree.

Sources, strongest first: environment `APRILGAN_SECTION__KEY`, a secrets folder (systemd's
`$CREDENTIALS_DIRECTORY`, file names as the environment's), the TOML file, the defaults. Unknown names are
refused wherever they stand.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from daemon.outputs.sections import MqttSettings, SinkName, WebhookSettings
from daemon.setting_sections import (
    BatchingSettings,
    CameraSettings,
    DriftSettings,
    FrameSettings,
    HeatmapSettings,
    HttpSettings,
    IngestSettings,
    LineSettings,
    LogSettings,
    ModelSettings,
    OutboxSettings,
    PublishSettings,
    RecordsSettings,
    RedisSettings,
    RetentionSettings,
    StateSettings,
    StorageSettings,
    WorkerSettings,
)

ENV_PREFIX = "APRILGAN_"
CONFIG_ENV = "APRILGAN_CONFIG"
DEFAULT_CONFIG = Path("/etc/aprilgan/aprilgan.toml")
LOCAL_ENDPOINT = r"^(ipc://|tcp://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):)"


class ConfigurationError(Exception):
    """Settings that cannot be used; the message names each bad setting, what it expects and what came."""


class Settings(BaseSettings):
    """Everything a deployment can set (contract.md)."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, secrets_dir=None
    )

    state: StateSettings = Field(default_factory=StateSettings)
    ingest: IngestSettings = IngestSettings()
    publish: PublishSettings = PublishSettings()
    redis: RedisSettings = RedisSettings()
    records: RecordsSettings = RecordsSettings()
    outbox: OutboxSettings = OutboxSettings()
    http: HttpSettings = HttpSettings()
    model: ModelSettings = ModelSettings()
    worker: WorkerSettings = WorkerSettings()
    batching: BatchingSettings = BatchingSettings()
    heatmaps: HeatmapSettings = HeatmapSettings()
    frames: FrameSettings = FrameSettings()
    drift: DriftSettings = DriftSettings()
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    mqtt: dict[SinkName, MqttSettings] = Field(default_factory=dict)
    webhooks: dict[SinkName, WebhookSettings] = Field(default_factory=dict)
    lines: tuple[LineSettings, ...] = ()
    cameras: tuple[CameraSettings, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        line_ids = [line.id for line in self.lines]
        _refuse_duplicates("lines: id", line_ids)
        _refuse_duplicates("cameras: name", [camera.name for camera in self.cameras])
        for camera in self.cameras:
            if camera.line not in line_ids:
                raise ValueError(
                    f"cameras: {camera.name!r} looks at line {camera.line}; configured are {sorted(line_ids)}"
                )
        _refuse_duplicates("mqtt and webhooks: name", [*self.mqtt, *self.webhooks])
        for name, output in {**self.mqtt, **self.webhooks}.items():
            unknown = sorted(set(output.lines) - set(line_ids))
            if unknown:
                raise ValueError(f"{name}.lines: no line {unknown}; configured are {sorted(line_ids)}")
        self._refuse_open_sockets()
        return self

    def _refuse_open_sockets(self) -> None:
        if self.ingest.security == "curve" or self.ingest.allow_insecure:
            return
        for section, bind in (("ingest", self.ingest.bind), ("publish", self.publish.bind)):
            if not re.match(LOCAL_ENDPOINT, bind):
                raise ValueError(
                    f"{section}: without security a socket is for loopback and ipc, got bind = {bind!r} "
                    f'(set ingest.security = "curve", or allow_insecure = true if the network itself is trusted)'
                )

    @property
    def records_url(self) -> str:
        """The SQLAlchemy URL. It may hold a password: never log it."""
        url = self.records.url.get_secret_value()
        if url == "sqlite":
            return f"sqlite:///{(self.state.dir / 'records.db').resolve()}"
        return url

    @property
    def redis_socket(self) -> Path:
        """Where the embedded server listens. Unix socket paths end at 107 bytes."""
        return (self.state.dir / "run" / "redis.sock").resolve()

    @property
    def redis_url(self) -> str:
        """The Redis URL, the embedded server's where that is meant. It may hold a password: never log it."""
        url = self.redis.url.get_secret_value()
        return f"unix://{self.redis_socket}" if url == "embedded" else url

    @property
    def redis_embedded(self) -> bool:
        """Whether this service starts its own Redis-compatible server."""
        return self.redis.url.get_secret_value() == "embedded"

    def camera(self, name: str) -> CameraSettings | None:
        """The camera of that name, or None."""
        return next((camera for camera in self.cameras if camera.name == name), None)

    def line(self, line_id: int) -> LineSettings | None:
        """The line of that id, or None."""
        return next((line for line in self.lines if line.id == line_id), None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over secrets over the TOML file (which arrives as init values)."""
        secrets = os.environ.get("CREDENTIALS_DIRECTORY")
        sources: list[PydanticBaseSettingsSource] = [env_settings]
        if secrets:
            sources.append(_NestedSecrets(settings_cls, Path(secrets)))
        return (*sources, init_settings)


class _NestedSecrets(InitSettingsSource):
    """Files named like the environment variables (`APRILGAN_RECORDS__URL`), their content the value."""

    def __init__(self, settings_cls: type[BaseSettings], folder: Path) -> None:
        tree: dict[str, Any] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and path.name.upper().startswith(ENV_PREFIX):
                node = tree
                *parents, leaf = path.name.upper().removeprefix(ENV_PREFIX).lower().split("__")
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[leaf] = path.read_text(encoding="utf-8").strip()
        super().__init__(settings_cls, tree)


def load_settings(config: Path | None = None) -> Settings:
    """Read settings from the file, secrets folder and environment.

    config: the TOML file; None looks at $APRILGAN_CONFIG, then /etc/aprilgan/aprilgan.toml, then does
    without a file.

    Raises ConfigurationError with one line a problem.
    """
    path = config or _config_from_environment()
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    _refuse_leftover_environment()
    try:
        return Settings(**tree)
    except OSError as error:
        raise ConfigurationError(f"cannot read the secret {error.filename}: {error.strerror}") from error
    except (SettingsError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"environment or secrets: {error}") from error
    except ValidationError as error:
        # input values are left out: they may be secrets
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("\n".join(problems)) from error


def _config_from_environment() -> Path | None:
    named = os.environ.get(CONFIG_ENV)
    if named:
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None


def _refuse_leftover_environment() -> None:
    """pydantic-settings silently ignores a misspelt top-level name in the environment; we do not."""
    known = {name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(ENV_PREFIX) and name != CONFIG_ENV:
            section = name.removeprefix(ENV_PREFIX).split("__")[0]
            if section not in known:
                raise ConfigurationError(
                    f"environment {name}: unknown section {section.lower()!r}, expected one of "
                    f"{', '.join(sorted(Settings.model_fields))}"
                )


def _refuse_duplicates(what: str, values: list[Any]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is given twice")
        seen.add(value)
