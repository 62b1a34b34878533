"""The sections of the settings, each frozen and closed: what can be set, its bounds and its default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

Name = Annotated[str, Field(pattern=ID_PATTERN)]
"""An id that may stand in a path, a metrics label or a Redis key (service.md section 6)."""

MIB = 1024 * 1024


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
    pair lies in the state folder. max_connections: cameras connected at once. window: frames in flight of one
    camera that speaks the native protocol; a stock sender has one by nature.
    """

    bind: str = "tcp://127.0.0.1:5555"
    security: Literal["none", "curve"] = "none"
    server_secret_key: SecretStr | None = None
    allow_insecure: bool = False
    max_connections: int = Field(default=256, ge=1)
    max_message_bytes: int = Field(default=64 * MIB, ge=MIB, le=128 * MIB)
    max_pixels: int = Field(default=64_000_000, ge=256)
    window: int = Field(default=2, ge=1, le=1024)
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
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    image_size: int | None = Field(default=None, ge=16, le=4096)

    @field_validator("stages", mode="before")
    @classmethod
    def _split_stages(cls, value: Any) -> Any:
        return tuple(int(part) for part in value.split(",")) if isinstance(value, str) else value


class WorkerSettings(_Section):
    """How the worker process is watched. Seconds.

    batch_timeout_s: longer by itself where the warm-up's batches are slow. standby: whether a second process
    that has imported everything waits to take over; "auto": where 4 GiB of memory are free. bank_budget_mb: MiB of
    banks on the scorer's device, the lines' own and previous ones for a rollback (daemon.bank_budget).
    """

    start_timeout_s: float = Field(default=120.0, gt=0)
    beat_timeout_s: float = Field(default=3.0, gt=0.5)
    batch_timeout_s: float = Field(default=3.5, gt=0)
    standby: bool | Literal["auto"] = "auto"
    decode_threads: int = Field(default=2, ge=1, le=64)
    bank_budget_mb: int = Field(default=2048, ge=1)


class BatchingSettings(_Section):
    """When a batch closes, and how many are scored side by side.

    0 lets the warm-up's measurement choose `max_size`, and `lanes`, which share out a CPU's cores (daemon.lanes).
    """

    max_size: int = Field(default=0, ge=0, le=64)
    lanes: int = Field(default=0, ge=0, le=64)
    max_delay_ms: float = Field(default=5.0, ge=0)


class _KeepSettings(_Section):
    """Which decisions keep a file: a comma-separated list, "all" or "none"."""

    keep: str = "reject,review"

    @property
    def decisions(self) -> frozenset[str]:
        """The decisions whose files are kept."""
        if self.keep == "none":
            return frozenset()
        if self.keep == "all":
            return frozenset({"accept", "review", "reject"})
        return frozenset(part.strip() for part in self.keep.split(","))

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = self.decisions - {"accept", "review", "reject"}
        if unknown:
            raise ValueError(f'expected "all", "none" or some of accept, review, reject; got {sorted(unknown)}')
        return self


class HeatmapSettings(_KeepSettings):
    """Which decisions keep a heatmap file."""


class FrameSettings(_KeepSettings):
    """Which decisions keep the camera's picture.

    accept_every: besides, every so-manieth accepted part of a line, by count and never by score, for `calibrate
    --accepted-since`; 0 for none.
    """

    accept_every: int = Field(default=100, ge=0)


class StorageSettings(_Section):
    """Free MiB where the state folder lies, below which pictures give way (daemon.storage).

    On a small file system no more than 10, 5 and 2 % of it count. recovery: so many times a limit must be free
    again before its state is left.
    """

    low_mb: int = Field(default=4096, ge=1)
    critical_mb: int = Field(default=1024, ge=1)
    full_mb: int = Field(default=256, ge=1)
    recovery: float = Field(default=1.2, ge=1.0, le=3.0)

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if not self.low_mb > self.critical_mb > self.full_mb:
            raise ValueError(
                f"expected low_mb > critical_mb > full_mb, got {self.low_mb}, {self.critical_mb}, {self.full_mb}"
            )
        return self


class RetentionSettings(_Section):
    """How long the pictures of parts are kept, by decision, and how many MiB of them; 0 for no limit.

    Rows of verdicts, parts that are held, and pictures that feedback named are never deleted.
    """

    accept_days: int = Field(default=14, ge=0)
    review_days: int = Field(default=90, ge=0)
    reject_days: int = Field(default=365, ge=0)
    accept_mb: int = Field(default=0, ge=0)
    review_mb: int = Field(default=0, ge=0)
    reject_mb: int = Field(default=0, ge=0)


class DriftSettings(_Section):
    """The watch for drift of good parts' scores (core.drift), where a line's bank is calibrated.

    parts_per_false_alarm: parts between two false alarms, on average at least. defect_rate: so many of the parts
    may be defective without counting as drift.
    """

    parts_per_false_alarm: float = Field(default=1_000_000, ge=1000, le=1e15)
    defect_rate: float = Field(default=0.05, ge=0.0, le=0.5)


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
