"""The native protocol, version 1: `[b"APG1", header, payload]` behind the delimiter, from DEALER or REQ.

Header, JSON or msgpack: v, camera, seq, enc; dtype and shape when enc is raw; optional line, part, boot,
ts_ns, color, crc32c, deadline_ms. Replies are JSON: v, seq, status (queued | verdict | busy | error), window
(how many frames of the camera may be in flight; more are answered busy) and what belongs to the status.

A daemon that started anew may say RESTARTED, which is no JSON: what is unanswered should be sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.cameras import Camera, CameraDirectory
from daemon.flow import Encoding, Identity, Protocol, RawFrame, Refusal, RefusalReason, Verdict
from daemon.wire_header import (
    bad_header,
    blamed_on,
    identifier,
    instant,
    one_of,
    only_known,
    part_name,
    read_header,
    whole_number,
)
from daemon.wire_json import compact
from daemon.wire_pixels import Pixels, WireLimits, check_crc32c, file_pixels, raw_pixels

MAGIC = b"APG1"
VERSION = 1
_FIELDS = frozenset(
    "v camera line part seq boot ts_ns enc dtype shape color crc32c deadline_ms".split()  # noqa: SIM905 - a list of names
)
_MAX_DEADLINE_MS = 600_000


def parse(
    route: bytes, header: bytes, payload: memoryview, cameras: CameraDirectory, limits: WireLimits
) -> RawFrame:
    """One message to a frame. Raises Refusal, with the camera and seq where they could be read."""
    fields = read_header(header, msgpack_allowed=True)
    seq = whole_number(fields, "seq")
    with blamed_on(None, seq=seq):
        camera = cameras.named(fields.get("camera"))
    with blamed_on(camera.name, seq=seq):
        only_known(fields, _FIELDS)
        identity = _identity(fields, camera)
        pixels = _pixels(fields, payload, camera, limits)
        check_crc32c(payload, whole_number(fields, "crc32c", high=2**32 - 1))
        return RawFrame(
            route=route,
            protocol=Protocol.NATIVE,
            identity=identity,
            encoding=pixels.encoding,
            payload=payload,
            dtype=pixels.dtype,
            shape=pixels.shape,
            color=pixels.color,
            deadline_ms=whole_number(fields, "deadline_ms", low=1, high=_MAX_DEADLINE_MS),
        )


def verdict_reply(verdict: Verdict, seq: int | None, *, window: int | None = None) -> bytes:
    """The verdict's public fields beside the status. seq: the request's, which is also the verdict's."""
    return compact({**verdict.public(), "seq": seq, "status": "verdict", "window": window})


def queued_reply(key: str, seq: int | None, *, window: int | None = None) -> bytes:
    """The frame is durable; its verdict will be published."""
    return compact({"v": VERSION, "seq": seq, "status": "queued", "key": key, "window": window})


def refusal_reply(refusal: Refusal) -> bytes:
    """`busy` with a time to wait, or `error` with the reason and what was expected."""
    answer: dict[str, Any] = {"v": VERSION, "seq": refusal.seq, "status": "error"}
    if refusal.reason is RefusalReason.BUSY:
        answer |= {"status": "busy", "retry_after_ms": refusal.retry_after_ms, "window": refusal.window}
    return compact(answer | {"reason": refusal.reason.value, "detail": refusal.detail})


def _identity(fields: Mapping[str, Any], camera: Camera) -> Identity:
    if whole_number(fields, "v") != VERSION:
        raise bad_header(f"expected v = {VERSION}, got {repr(fields.get('v'))[:80]}")
    seq = whole_number(fields, "seq")
    if seq is None:
        raise bad_header("expected seq, a whole number that counts up from frame to frame")
    line = whole_number(fields, "line")
    if line is not None and line != camera.line:
        raise Refusal(
            RefusalReason.WRONG_LINE, f"camera {camera.name} is configured on line {camera.line}, not {line}"
        )
    ts_ns = whole_number(fields, "ts_ns")
    return Identity(
        camera=camera.name,
        line=camera.line,
        part=part_name(fields.get("part")),
        seq=seq,
        boot=identifier(fields, "boot"),
        captured_at=None if ts_ns is None else instant(ts_ns / 1e9, ts_ns),
    )


def _pixels(fields: Mapping[str, Any], payload: memoryview, camera: Camera, limits: WireLimits) -> Pixels:
    encoding = one_of(fields, "enc", tuple(Encoding))
    if encoding is None:
        raise bad_header(f"expected enc, one of {', '.join(Encoding)}")
    color = one_of(fields, "color", ("bgr", "rgb", "gray")) or camera.color
    if encoding == Encoding.RAW:
        return raw_pixels(fields, payload.nbytes, color=color, limits=limits)
    return file_pixels(payload, expected=Encoding(encoding), color=color, limits=limits)
