"""What cameras say and are told: one message in, a RawFrame or a Refusal out; replies in the same protocol.

Every message gets exactly one reply, behind the empty delimiter that a REQ peer needs. Pure: no socket here.
The protocols themselves are daemon.wire_imagezmq and daemon.wire_native.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon import wire_imagezmq, wire_native
from daemon.cameras import CameraDirectory
from daemon.flow import Protocol, RawFrame, Refusal, RefusalReason, Verdict
from daemon.wire_pixels import WireLimits

__all__ = ["Waiter", "WireLimits", "parse", "protocol_of", "queued_reply", "refusal_reply", "verdict_reply"]

MAX_PARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """A sender that waits for an answer: where it is, what it speaks, which of its frames it asks about.

    window: how many frames it may have in flight, which native replies tell it.
    """

    route: bytes
    protocol: Protocol
    seq: int | None
    window: int | None = None


def protocol_of(parts: Sequence[memoryview]) -> Protocol:
    """Which protocol a message means to speak. parts: what follows the route. Never fails."""
    if any(part == wire_native.MAGIC for part in parts[:2]):
        return Protocol.NATIVE
    return Protocol.IMAGEZMQ


def parse(route: bytes, parts: Sequence[memoryview], cameras: CameraDirectory, limits: WireLimits) -> RawFrame:
    """Parse and validate one message. parts: what the ROUTER received after the route.

    Raises Refusal, always with its protocol set.
    """
    protocol = protocol_of(parts)
    try:
        _check_envelope(parts, limits)
        if protocol is Protocol.NATIVE:
            header, payload = _body(parts, after=2, expected='[b"", b"APG1", header, payload]')
            return wire_native.parse(route, header, payload, cameras, limits)
        header, payload = _body(parts, after=1, expected='[b"", header, payload]')
        return wire_imagezmq.parse(route, header, payload, cameras, limits)
    except Refusal as refusal:
        refusal.protocol = protocol
        raise


def verdict_reply(waiter: Waiter, verdict: Verdict) -> bytes:
    """The verdict, for this sender."""
    if waiter.protocol is Protocol.NATIVE:
        return wire_native.verdict_reply(verdict, waiter.seq, window=waiter.window)
    return wire_imagezmq.verdict_reply(verdict)


def queued_reply(waiter: Waiter, key: str) -> bytes:
    """The frame is durable; for lines that reply "queued"."""
    if waiter.protocol is Protocol.NATIVE:
        return wire_native.queued_reply(key, waiter.seq, window=waiter.window)
    return wire_imagezmq.queued_reply(key)


def refusal_reply(refusal: Refusal) -> bytes:
    """Why a message is refused, in the sender's protocol."""
    if refusal.protocol is Protocol.NATIVE:
        return wire_native.refusal_reply(refusal)
    return wire_imagezmq.refusal_reply(refusal)


def _check_envelope(parts: Sequence[memoryview], limits: WireLimits) -> None:
    if len(parts) + 1 > MAX_PARTS:
        raise Refusal(
            RefusalReason.MALFORMED,
            f"expected at most {MAX_PARTS} parts with the route, got {len(parts) + 1}",
        )
    size = sum(part.nbytes for part in parts)
    if size >= limits.max_message_bytes:
        raise Refusal(
            RefusalReason.OVERSIZE,
            f"expected a message of less than {limits.max_message_bytes} bytes, got {size}",
        )


def _body(parts: Sequence[memoryview], *, after: int, expected: str) -> tuple[bytes, memoryview]:
    """The header and payload `after` so many leading parts, the first of which is the empty delimiter."""
    if len(parts) != after + 2 or parts[0].nbytes != 0:
        sizes = [part.nbytes for part in parts]
        raise Refusal(RefusalReason.MALFORMED, f"expected {expected}, got parts of {sizes} bytes")
    return bytes(parts[after]), parts[after + 1]
