"""What flows through the service: RawFrame -> Frame -> (worker) -> Verdict. Frozen values, no behaviour.

Times named `*_ns` are `time.monotonic_ns()` (system-wide on Linux, so comparable between our processes);
times named `*_at` are wall clock in UTC, for people and the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.decide import Decision, ThresholdState

__all__ = [
    "Decision",
    "Encoding",
    "Frame",
    "Identity",
    "Protocol",
    "RawFrame",
    "Refusal",
    "RefusalReason",
    "ThresholdState",
    "UninspectedReason",
    "Verdict",
]


class Encoding(StrEnum):
    """How the payload carries its pixels."""

    RAW = "raw"
    JPEG = "jpeg"
    PNG = "png"


class Protocol(StrEnum):
    """Which of the two camera protocols a message spoke, and so how it must be answered."""

    IMAGEZMQ = "imagezmq"
    NATIVE = "native"


class UninspectedReason(StrEnum):
    """Why a part has no score. These are also the values of the metrics label `reason`."""

    DEADLINE = "deadline"
    DECODE = "decode"
    NO_BANK = "no_bank"
    MODEL_ERROR = "model_error"
    NOT_FINITE = "not_finite"
    WORKER_LOST = "worker_lost"
    OVERLOAD = "overload"
    RESTART = "restart"


class RefusalReason(StrEnum):
    """Why a message never became a frame. These are also the values of the metrics label `reason`."""

    MALFORMED = "malformed"
    UNKNOWN_CAMERA = "unknown_camera"
    WRONG_LINE = "wrong_line"
    NOT_AUTHORIZED = "not_authorized"
    BAD_HEADER = "bad_header"
    BAD_IMAGE = "bad_image"
    OVERSIZE = "oversize"
    CHECKSUM = "checksum"
    KEY_REUSED = "key_reused"
    BUSY = "busy"


class Refusal(Exception):
    """A message that is refused: the sender is told `detail`, the counter `reason` goes up, nothing is kept.

    `detail` says what was expected and what came. `camera` is a *configured* name or "unknown": a label
    is never taken from the wire. `retry_after_ms` and `window` (frames in flight) are set for BUSY alone.
    """

    def __init__(
        self,
        reason: RefusalReason,
        detail: str,
        *,
        camera: str = "unknown",
        protocol: Protocol | None = None,
        seq: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.camera = camera
        self.protocol = protocol
        self.seq = seq
        self.retry_after_ms = retry_after_ms
        self.window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which part a frame shows. It travels in the same message as the pixels."""

    camera: str
    line: int
    part: str | None = None
    seq: int | None = None
    boot: str | None = None
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawFrame:
    """A message that parsed and validated, before it has a key.

    payload: the image bytes as received, C-contiguous `shape` of `dtype` for raw, a file otherwise.
    shape: (H, W) or (H, W, C) for raw, read from the image header for JPEG and PNG.
    color: channel order of raw payloads, "bgr" | "rgb" | "gray" (4 channels: alpha comes last).
    """

    route: bytes
    protocol: Protocol
    identity: Identity
    encoding: Encoding
    payload: memoryview
    dtype: str
    shape: tuple[int, ...]
    color: str
    deadline_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A frame that ingress owns: keyed, timed, and (once it lies in the outbox) never to be forgotten."""

    key: str
    identity: Identity
    sha256: str
    received_at: datetime
    received_ns: int
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The one answer to one frame: a row of `inspections` (service.md section 3), unique by `key`.

    score, threshold, p_value: of the streaming score; None where the part is uninspected. p_value is None
    as well while the bank has no calibration samples, since then it would promise nothing.
    heatmap: path relative to the state folder, or None with `no_heatmap` saying why.
    frame: path of the camera's picture, relative to the state folder, or None where it was not kept.
    """

    key: str
    line: int
    camera: str
    part: str | None
    seq: int | None
    decision: Decision
    reason: str | None
    score: float | None
    threshold: float | None
    threshold_state: ThresholdState | None
    p_value: float | None
    product: str | None
    bank_sha256: str | None
    model_id: str | None
    adapter_sha256: str | None
    software_version: str
    batch_size: int | None
    queue_ms: float | None
    infer_ms: float | None
    total_ms: float
    host: str
    heatmap: str | None
    no_heatmap: str | None
    frame_sha256: str
    captured_at: datetime | None
    received_at: datetime
    decided_at: datetime
    frame: str | None = None

    def public(self) -> dict[str, Any]:
        """The verdict as contract.md words it: reply, PUB body and `--json`. Times are ISO 8601, UTC."""
        return {
            "v": 1,
            "key": self.key,
            "line": self.line,
            "camera": self.camera,
            "part": self.part,
            "seq": self.seq,
            "decision": self.decision.value,
            "reason": self.reason,
            "score": self.score,
            "threshold": self.threshold,
            "threshold_state": self.threshold_state.value if self.threshold_state else None,
            "p_value": self.p_value,
            "product": self.product,
            "bank": self.bank_sha256[:12] if self.bank_sha256 else None,
            "heatmap": self.heatmap,
            "captured_at": self.captured_at.isoformat() if self.captured_at else None,
            "decided_at": self.decided_at.isoformat(),
            "total_ms": self.total_ms,
        }
