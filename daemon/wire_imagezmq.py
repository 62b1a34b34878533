"""The stock imagezmq protocol: `[header, payload]`, header `{"msg", "dtype", "shape"}` raw, `{"msg"}` JPEG.

`msg` is any JSON value; a frame needs it to be a camera's name or `camera=NAME;part=A123;seq=17;ts=...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from daemon.cameras import CameraDirectory
from daemon.flow import Encoding, Identity, Protocol, RawFrame, Refusal, RefusalReason, Verdict
from daemon.wire_header import (
    bad_header,
    blamed_on,
    instant,
    only_known,
    part_name,
    read_header,
    whole_number,
)
from daemon.wire_json import compact
from daemon.wire_pixels import Pixels, WireLimits, file_pixels, raw_pixels

_RAW_FIELDS = frozenset({"msg", "dtype", "shape"})
_MSG_FIELDS = frozenset({"camera", "part", "seq", "ts"})


def parse(
    route: bytes, header: bytes, payload: memoryview, cameras: CameraDirectory, limits: WireLimits
) -> RawFrame:
    """One message to a frame. Raises Refusal, with the camera where its name was a known one."""
    fields = read_header(header, msgpack_allowed=False)
    claims = _claims(fields.get("msg"))
    camera = cameras.named(claims.get("camera"))
    with blamed_on(camera.name, seq=None):
        only_known(fields, _RAW_FIELDS)
        only_known(claims, _MSG_FIELDS)
        identity = Identity(
            camera=camera.name,
            line=camera.line,
            part=part_name(claims.get("part")),
            seq=_sequence_number(claims.get("seq")),
            captured_at=_time(claims.get("ts")),
        )
        pixels = _pixels(fields, payload, camera.color, limits)
    return RawFrame(
        route=route,
        protocol=Protocol.IMAGEZMQ,
        identity=identity,
        encoding=pixels.encoding,
        payload=payload,
        dtype=pixels.dtype,
        shape=pixels.shape,
        color=pixels.color,
    )


def verdict_reply(verdict: Verdict) -> bytes:
    """What `send_image()` returns on a line that replies with verdicts."""
    return compact(verdict.public())


def queued_reply(key: str) -> bytes:
    """What `send_image()` returns on a line that replies once the frame is safe."""
    return f"QUEUED {key}".encode()


def refusal_reply(refusal: Refusal) -> bytes:
    """`BUSY ...` or `ERR ...`, for a person to read and a script to match."""
    word = "BUSY" if refusal.reason is RefusalReason.BUSY else "ERR"
    return f"{word} {refusal.detail}".encode()


def _claims(msg: object) -> Mapping[str, Any]:
    """What `msg` says of itself; a plain name says only the camera."""
    if not isinstance(msg, str) or not msg.startswith("camera="):
        return {"camera": msg}
    claims: dict[str, str] = {}
    for item in msg.split(";"):
        name, _, value = item.partition("=")
        if name in claims:
            raise bad_header(f"msg gives {name[:64]!r} twice")
        claims[name] = value
    return claims


def _sequence_number(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise bad_header(f"expected seq to be a whole number, got {text[:80]!r}")
    return whole_number({"seq": int(text)}, "seq")


def _time(text: str | None) -> datetime | None:
    """`ts` is seconds since 1970 or ISO 8601 with a zone: a time without one means nothing."""
    if not text:
        return None
    try:
        return instant(float(text), text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_header(f"expected ts in seconds or ISO 8601, got {text[:80]!r}") from error
    if moment.tzinfo is None:
        raise bad_header(f"expected ts with a time zone, got {text[:80]!r}")
    return moment.astimezone(UTC)


def _pixels(fields: Mapping[str, Any], payload: memoryview, color: str, limits: WireLimits) -> Pixels:
    if "dtype" in fields or "shape" in fields:
        return raw_pixels(fields, payload.nbytes, color=color, limits=limits)
    return file_pixels(payload, expected=Encoding.JPEG, color=color, limits=limits)
