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
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ENV_PREFIX = "APRILGAN_"
CONFIG_ENV = "APRILGAN_CONFIG"
DEFAULT_CONFIG = Path("/etc/aprilgan/aprilgan.toml")
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

Name = Annotated[str, Field(pattern=ID_PATTERN)]
"""An id that may stand in a path, a metrics label or a Redis key (service.md section 6)."""

LOCAL_ENDPOINT = r"^(ipc://|tcp://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):)"

MIB = 1024 * 1024


class ConfigurationError(Exception):
    """Settings that cannot be used; the message names each bad setting, what it expects and what came."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _default_state_dir() -> Path:
    # systemd sets STATE_DIRECTORY for units with StateDirectory=; elsewhere the work tree's var/.
    return Path(os.environ.get("STATE_DIRECTORY", "var/state"))


class StateSettings(_Section):
    """Where everything that must outlive the process lies."""

    dir: Path = Field(default_factory=_default_state_dir)


class IngestSettings(_Section):
    """The camera socket and what it lets in. Sizes in bytes, images in pixels.

    security: "curve" secures the publish socket as well. server_secret_key: a credential; without one the
    pair lies in the state folder. max_connections: cameras connected at once, enforced with "curve".
    """

    bind: str = "tcp://127.0.0.1:5555"
    security: Literal["none", "curve"] = "none"
    server_secret_key: SecretStr | None = None
    allow_insecure: bool = False
    max_connections: int = Field(default=256, ge=1)
    max_message_bytes: int = Field(default=64 * MIB, ge=MIB, le=128 * MIB)
    max_pixels: int = Field(default=64_000_000, ge=256)
    max_in_flight: int = Field(default=256, ge=1)
    max_in_flight_bytes: int = Field(default=256 * MIB, ge=MIB)
    retry_after_ms: int = Field(default=100, ge=1)


class PublishSettings(_Section):
    """The PUB socket that carries every verdict."""

    bind: str = "tcp://127.0.0.1:5556"


class RedisSettings(_Section):
    """The bank cache: "embedded" starts the packaged server as a child, else a redis:// or unix:// URL."""

    url: SecretStr = SecretStr("embedded")


class RecordsSettings(_Section):
    """Where verdicts and line assignments live: "sqlite" (records.db in the state folder) or a URL."""

    url: SecretStr = SecretStr("sqlite")


class OutboxSettings(_Section):
    """The journal of frames and verdicts. Rows that SQL has are kept `keep_rows` long to answer replays."""

    max_rows: int = Field(default=1_000_000, ge=10)
    keep_rows: int = Field(default=100_000, ge=0)


class HttpSettings(_Section):
    """Where /metrics, /livez, /readyz and /statusz answer."""

    bind: str = "127.0.0.1:9108"


class ModelSettings(_Section):
    """Which encoder scores, and how. `preset` is a preset's name or the path of an open_clip config."""

    preset: str = "lite"
    weights: Path | None = None
    adapter: Path | None = None
    method: Literal["april-gan", "sdp", "sdp+", "bank"] | None = None
    activation: Literal["gelu", "quickgelu"] | None = None
    stages: tuple[int, ...] | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    image_size: int | None = Field(default=None, ge=16, le=4096)

    @field_validator("stages", mode="before")
    @classmethod
    def _split_stages(cls, value: Any) -> Any:
        return tuple(int(part) for part in value.split(",")) if isinstance(value, str) else value


class WorkerSettings(_Section):
    """How the worker process is watched. Seconds.

    batch_timeout_s: longer by itself where the warm-up's batches are slow. standby: whether a second process
    that has imported everything waits to take over; "auto": where 4 GiB of memory are free.
    """

    start_timeout_s: float = Field(default=120.0, gt=0)
    beat_timeout_s: float = Field(default=3.0, gt=0.5)
    batch_timeout_s: float = Field(default=3.5, gt=0)
    standby: bool | Literal["auto"] = "auto"
    decode_threads: int = Field(default=2, ge=1, le=64)


class BatchingSettings(_Section):
    """When a batch closes. `max_size = 0` lets the warm-up's measurement choose."""

    max_size: int = Field(default=0, ge=0, le=64)
    max_delay_ms: float = Field(default=5.0, ge=0)


class HeatmapSettings(_Section):
    """Which decisions keep a heatmap file: a comma-separated list, "all" or "none"."""

    keep: str = "reject,review"

    @property
    def decisions(self) -> frozenset[str]:
        """The decisions whose heatmaps are kept."""
        if self.keep == "none":
            return frozenset()
        if self.keep == "all":
            return frozenset({"accept", "review", "reject"})
        return frozenset(part.strip() for part in self.keep.split(","))

    @model_validator(mode="after")
    def _known(self) -> HeatmapSettings:
        unknown = self.decisions - {"accept", "review", "reject"}
        if unknown:
            raise ValueError(f'expected "all", "none" or some of accept, review, reject; got {sorted(unknown)}')
        return self


class LogSettings(_Section):
    """Logs go to standard error: JSON lines, or plain text for a person."""

    format: Literal["json", "text"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class LineSettings(_Section):
    """One production line. `product` is the initial value only; once a line is enrolled, SQL wins."""

    id: int = Field(ge=0, le=9999)
    name: str = ""
    product: Name | None = None
    deadline_ms: int = Field(default=500, ge=1, le=600_000)
    reply: Literal["verdict", "queued"] = "verdict"


class CameraSettings(_Section):
    """One camera and the line it looks at. `color` is the channel order of its raw frames."""

    name: Name
    line: int
    color: Literal["bgr", "rgb", "gray"] = "bgr"


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
    log: LogSettings = LogSettings()
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
