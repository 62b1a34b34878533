"""The messages between ingress and worker. One module, so that both ends change together.

Frames go down one PUSH/PULL pair (`[header, payload]`), and between them new orders (`[orders]`); everything
else comes up another (`[message]`). Headers are msgpack; the payload is the camera's bytes untouched. Both
sockets are ipc in the state folder's run directory, bound by ingress; a worker's life number is part of the
frames endpoint's name, so that a replaced worker never sees its predecessor's frames.

Knows nothing of sockets: values in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgpack

from daemon.fields import fields_of


class LinkError(Exception):
    """A message of the other process that cannot be read. Never expected: both ends are this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What the worker needs to know of a frame besides its pixels (see flow.RawFrame for the fields)."""

    key: str
    line: int
    camera: str
    encoding: str
    dtype: str
    shape: tuple[int, ...]
    color: str
    received_ns: int
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrders:
    """What a running worker is told when the settings change (see worker_config.WorkerConfig for the fields)."""

    lines: tuple[int, ...]
    keep_heatmaps: tuple[str, ...]
    keep_frames: tuple[str, ...]
    keep_accepted_every: int
    log_format: Literal["json", "text"]
    log_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFrame:
    """The worker's answer to one frame. `decision` and `reason` as in flow.Verdict.

    heatmap, frame: paths of files, relative to the state folder.
    queue_ms: receipt by ingress to start of the batch. infer_ms: the batch's time from start to decision.
    """

    key: str
    decision: str
    reason: str | None
    score: float | None = None
    threshold: float | None = None
    threshold_state: str | None = None
    p_value: float | None = None
    product: str | None = None
    bank_sha256: str | None = None
    model_id: str | None = None
    adapter_sha256: str | None = None
    batch_size: int | None = None
    queue_ms: float | None = None
    infer_ms: float | None = None
    heatmap: str | None = None
    no_heatmap: str | None = None
    frame: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """One batch, for the metrics.

    bucket: the size that a GPU computed it with; a CPU computes what came, and there it is the class of sizes
    whose times are kept together. seconds: stage name -> duration ("decode", "encode", "match", "heatmap").
    """

    worker: int
    size: int
    bucket: int
    close_reason: str
    seconds: dict[str, float]
    retries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A heartbeat, sent every second by a thread of its own, whatever the scorer is doing.

    progress: counts turns of the scorer's slowest lane (lanes also turn when idle); with `busy_ms` (how long the
    oldest batch under way has been running, 0 when idle) it tells a slow worker from a hung one.
    slowest_batch_ms: of the warm-up; how long a batch may rightly take depends on it.
    lines: line id -> {"product", "bank", "threshold", "review_threshold", "threshold_state", "revision",
    "calibration_samples", "error"}.
    device_memory: "allocated", "reserved", "free", "total" -> bytes (core.DeviceMemory), of a GPU alone.
    """

    worker: int
    life: int
    pid: int
    phase: str
    """"loading" | "ready" | "stopping"."""
    progress: int
    busy_ms: float
    queued: int
    slowest_batch_ms: float = 0.0
    lanes: int = 1
    device: str = ""
    precision: str = ""
    model_id: str = ""
    selftest: str = "skipped"
    """"passed" | "failed" | "skipped"."""
    redis_up: bool = False
    db_up: bool = False
    bank_loads: dict[str, int] = field(default_factory=dict)
    """"source/result" -> count, e.g. "redis/ok", "file/ok", "redis/bad_sha"."""
    bank_bytes: int = 0
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    heatmaps: dict[str, int] = field(default_factory=dict)
    kept_frames: dict[str, int] = field(default_factory=dict)
    rss_bytes: int = 0
    device_memory: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBatch:
    """Answers of one batch with its report; they travel together so that counts and rows agree."""

    worker: int
    life: int
    frames: tuple[ScoredFrame, ...]
    report: BatchReport | None


def pack_frame_header(header: FrameHeader) -> bytes:
    """Frame header to bytes; the inverse of `unpack_frame_header`."""
    return bytes(msgpack.packb(fields_of(header)))


def unpack_frame_header(data: bytes) -> FrameHeader:
    """Bytes to frame header. Raises LinkError."""
    fields = _unpack(data)
    fields["shape"] = tuple(fields["shape"])
    return FrameHeader(**fields)


def pack_orders(orders: WorkerOrders) -> bytes:
    """Orders to bytes; the inverse of `unpack_orders`."""
    return bytes(msgpack.packb(fields_of(orders)))


def unpack_orders(data: bytes) -> WorkerOrders:
    """Bytes to orders. Raises LinkError."""
    fields = _unpack(data)
    for name in ("lines", "keep_heatmaps", "keep_frames"):
        fields[name] = tuple(fields[name])
    return WorkerOrders(**fields)


def pack_upward(message: ScoredBatch | WorkerStatus) -> bytes:
    """Worker message to bytes; the inverse of `unpack_upward`."""
    return bytes(msgpack.packb({"type": type(message).__name__, **fields_of(message)}, default=fields_of))


def unpack_upward(data: bytes) -> ScoredBatch | WorkerStatus:
    """Bytes to worker message. Raises LinkError."""
    fields = _unpack(data)
    kind = fields.pop("type", None)
    if kind == WorkerStatus.__name__:
        return WorkerStatus(**fields)
    if kind == ScoredBatch.__name__:
        report = fields["report"]
        return ScoredBatch(
            worker=fields["worker"],
            life=fields["life"],
            frames=tuple(ScoredFrame(**frame) for frame in fields["frames"]),
            report=None if report is None else BatchReport(**report),
        )
    raise LinkError(f"expected a ScoredBatch or WorkerStatus, got type {kind!r}")


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise LinkError(f"expected a msgpack map, got {len(data)} bytes: {error}") from error
    if not isinstance(fields, dict):
        raise LinkError(f"expected a msgpack map, got {type(fields).__name__}")
    return fields
