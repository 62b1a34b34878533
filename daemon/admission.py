"""Whether a valid frame comes in: its key, whether it is a replay, whether there is room. service.md section 3.

Overload in three steps (service.md section 2): a camera has a window of frames in flight; beyond it, or where the
service is full, BUSY; and a frame that was told so until its time was over is uninspected.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from ulid import ULID

from daemon.cameras import CameraDirectory
from daemon.clock import Clock
from daemon.flow import Frame, Protocol, RawFrame, Refusal, RefusalReason, Verdict
from daemon.in_flight import InFlight, Owned
from daemon.outbox import Outbox, OutboxUnavailable
from daemon.patience import Patience
from daemon.verdicts import Provenance
from daemon.wire import Waiter, WireLimits

RESTART = "restart"
OUTBOX_FAILS = "the outbox cannot be written"
MAX_WAITERS = 16
"""Requests that may wait for one verdict; a sender replays once or twice, not without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressOptions:
    """What bounds ingress. Sizes in bytes.

    window: frames in flight of one camera that speaks the native protocol; a stock sender has one by nature.
    drain_s: how long a stop waits for frames in flight.
    """

    state_dir: Path
    provenance: Provenance
    limits: WireLimits = field(default_factory=WireLimits)
    window: int = 2
    max_in_flight: int = 256
    max_in_flight_bytes: int = 256 * 1024 * 1024
    max_outbox_rows: int = 1_000_000
    retry_after_ms: int = 100
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """A frame that was here before: still in flight, or already decided. Exactly one is set."""

    owned: Owned | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overload:
    """A frame that asked for room until its time was over: it is to be uninspected."""

    frame: Frame


class Admission:
    """The rules of entry. `closed` says why nothing comes in at all, None while the door is open.

    `options` may be replaced between two frames.
    """

    def __init__(
        self,
        *,
        cameras: CameraDirectory,
        in_flight: InFlight,
        outbox: Outbox,
        options: IngressOptions,
        clock: Clock,
    ) -> None:
        self._cameras = cameras
        self._in_flight = in_flight
        self._outbox = outbox
        self.options = options
        self._clock = clock
        self._patience = Patience()
        self.closed: str | None = None

    def judge(self, raw: RawFrame) -> Frame | Replay | Overload:
        """A new frame with its key and deadline, or what it repeats, or that its time is over.

        Raises Refusal: BUSY, or KEY_REUSED when the key came before with other bytes.
        """
        if self.closed is not None:
            raise self._busy(raw, self.closed)
        frame = self._keyed(raw)
        replay = self._replay_of(raw, frame)
        if replay is not None:
            return replay
        self._check_outbox(raw)
        full = self._fullness(raw)
        if full is None:
            self._patience.forget(frame)
            return frame
        if raw.identity.boot is not None and self._patience.ends(frame):
            return Overload(frame=frame)
        raise self._busy(raw, full)

    def _keyed(self, raw: RawFrame) -> Frame:
        identity = raw.identity
        received_ns = self._clock.monotonic_ns()
        promised_ms = self._cameras.named(identity.camera).deadline_ms
        # a sender may ask for less than its line's deadline, never for more
        deadline_ms = min(promised_ms, raw.deadline_ms or promised_ms)
        return Frame(
            key=f"{identity.camera}:{identity.boot}:{identity.seq}" if identity.boot else str(ULID()),
            identity=identity,
            sha256=hashlib.sha256(raw.payload).hexdigest(),
            received_at=self._clock.now(),
            received_ns=received_ns,
            deadline_ns=received_ns + deadline_ms * 1_000_000,
        )

    def _replay_of(self, raw: RawFrame, frame: Frame) -> Replay | None:
        if raw.identity.boot is None:  # its key is fresh
            return None
        owned = self._in_flight.get(frame.key)
        if owned is not None:
            self._same_bytes(raw, frame, owned.frame.sha256)
            if len(owned.waiters) >= MAX_WAITERS:
                raise self._busy(raw, f"{MAX_WAITERS} requests wait for this frame already")
            return Replay(owned=owned)
        verdict = self._stored_verdict(raw, frame.key)
        if verdict is None:
            return None
        self._same_bytes(raw, frame, verdict.frame_sha256)
        return Replay(verdict=verdict)

    def _stored_verdict(self, raw: RawFrame, key: str) -> Verdict | None:
        try:
            return self._outbox.find(key)
        except OutboxUnavailable as error:
            raise self._busy(raw, OUTBOX_FAILS) from error

    def _same_bytes(self, raw: RawFrame, frame: Frame, sha256: str) -> None:
        if frame.sha256 != sha256:
            raise self._refusal(
                raw,
                RefusalReason.KEY_REUSED,
                f"key reused: {frame.key} came before with other bytes "
                f"(sha256 {sha256[:12]}, now {frame.sha256[:12]})",
            )

    def _check_outbox(self, raw: RawFrame) -> None:
        # every frame in flight will need a row, and no verdict may be lost for want of one
        if self._outbox.unrecorded + len(self._in_flight) >= self.options.max_outbox_rows:
            raise self._busy(raw, "outbox full")

    def _fullness(self, raw: RawFrame) -> str | None:
        """Why there is no room for this frame now, None where there is."""
        options, held = self.options, self._in_flight
        free, free_bytes = options.max_in_flight - len(held), options.max_in_flight_bytes - held.bytes_held
        if free <= 0:
            return f"{len(held)} frames in flight"
        if raw.payload.nbytes > free_bytes:
            return f"{held.bytes_held} bytes in flight"
        frames, size = held.held_by(raw.identity.camera)
        if raw.protocol is Protocol.NATIVE and frames >= options.window:
            return f"{frames} frames of this camera in flight, its window is {options.window}"
        # a camera may hold no more than is left for the others: alone it gets half, two get a third each
        if frames > free or size > free_bytes:
            return f"{frames} frames ({size} bytes) of this camera in flight"
        return None

    def closed_to(self, waiter: Waiter, camera: str) -> Refusal:
        """BUSY for a frame that came in before the door closed, and could not be kept."""
        refusal = Refusal(RefusalReason.BUSY, "", camera=camera, protocol=waiter.protocol, seq=waiter.seq)
        return self._come_back(refusal, self.closed or OUTBOX_FAILS)

    def _busy(self, raw: RawFrame, why: str) -> Refusal:
        return self._come_back(self._refusal(raw, RefusalReason.BUSY, ""), why)

    def _come_back(self, refusal: Refusal, why: str) -> Refusal:
        wait_ms = self.options.retry_after_ms
        refusal.detail = why if why == RESTART else f"retry_after_ms={wait_ms}: {why}"
        refusal.retry_after_ms, refusal.window = wait_ms, self.options.window
        return refusal

    @staticmethod
    def _refusal(raw: RawFrame, reason: RefusalReason, detail: str) -> Refusal:
        return Refusal(reason, detail, camera=raw.identity.camera, protocol=raw.protocol, seq=raw.identity.seq)
