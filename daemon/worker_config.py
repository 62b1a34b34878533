"""What a worker is told at its start: one JSON line on its standard input. Secrets never stand in argv.

Standard input stays open as long as the worker is wanted; its end means "finish and go".
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

WITHOUT_CLIP = "--without-clip"
"""Tells a standby, which has no line yet, that its life will take no library of whole CLIPs."""


class WorkerConfigError(Exception):
    """A configuration line that is none. Never expected: both ends are this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything one life of one worker needs to know.

    worker: the worker's index (one a GPU). life: counts up with every start. parent_pid: who must live.
    frames_endpoint, upward_endpoint: ipc sockets that ingress binds. lines: the configured line ids.
    shortest_deadline_ms: of all lines; bounds the batch size that measurement may choose.
    records_url, redis_url: may hold passwords; None for redis_url does without a cache.
    """

    worker: int
    life: int
    parent_pid: int
    frames_endpoint: str
    upward_endpoint: str
    state_dir: str
    lines: tuple[int, ...]
    shortest_deadline_ms: int
    records_url: str
    redis_url: str | None
    preset: str
    weights: str | None = None
    adapter: str | None = None
    method: str | None = None
    activation: Literal["gelu", "quickgelu"] | None = None
    stages: tuple[int, ...] | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    image_size: int | None = None
    max_size: int = 0
    max_delay_ms: float = 5.0
    lanes: int = 0
    decode_threads: int = 2
    bank_budget_mb: int = 2048
    max_pixels: int = 64_000_000
    keep_heatmaps: tuple[str, ...] = ("reject", "review")
    keep_frames: tuple[str, ...] = ("reject", "review")
    keep_accepted_every: int = 100
    log_format: Literal["json", "text"] = "json"
    log_level: str = "INFO"

    def __repr__(self) -> str:
        return f"WorkerConfig(worker={self.worker}, life={self.life})"  # the URLs may hold passwords

    @property
    def state(self) -> Path:
        """The state folder."""
        return Path(self.state_dir)

    def to_line(self) -> bytes:
        """One JSON line; the inverse of `from_line`."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerConfig:
        """Raises WorkerConfigError."""
        try:
            fields: dict[str, Any] = json.loads(line)
            tuples = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
            return cls(**{**fields, **tuples})
        except (ValueError, TypeError, AttributeError) as error:
            raise WorkerConfigError(f"expected a worker configuration as one JSON line: {error}") from error
