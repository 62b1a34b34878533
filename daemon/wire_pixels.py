"""What a payload claims to be, checked before anything is decoded: sizes in Python ints, image headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google_crc32c

from core.errors import ImageError
from core.image import check_size
from core.image import read_header as read_image_header
from daemon.flow import Encoding, Refusal, RefusalReason
from daemon.wire_header import bad_header

ITEM_BYTES = {"uint8": 1, "uint16": 2}
CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """The largest message (bytes, all parts) and picture (pixels) that is let in."""

    max_message_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """How to read a payload; the fields are those of flow.RawFrame."""

    encoding: Encoding
    dtype: str
    shape: tuple[int, ...]
    color: str


def raw_pixels(fields: Mapping[str, Any], size: int, *, color: str, limits: WireLimits) -> Pixels:
    """Check `dtype` and `shape` of a raw payload of `size` bytes. color: the order its channels have.

    Raises Refusal(BAD_HEADER) naming what was expected.
    """
    dtype, shape = fields.get("dtype"), fields.get("shape")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise bad_header(f"expected dtype uint8 or uint16, got {repr(dtype)[:80]}")
    dims = _dimensions(shape)
    try:
        check_size(dims[0], dims[1], max_pixels=limits.max_pixels)
    except ImageError as error:
        raise bad_header(str(error)) from error
    expected = math.prod(dims) * ITEM_BYTES[dtype]
    if size != expected:
        raise bad_header(f"expected {expected} bytes for {dtype} {list(dims)}, got {size}")
    return Pixels(encoding=Encoding.RAW, dtype=dtype, shape=dims, color=_channel_order(dims, color))


def file_pixels(payload: memoryview, *, expected: Encoding | None, color: str, limits: WireLimits) -> Pixels:
    """Read an image file's own header. expected: the format the sender named, None for whatever it is.

    Raises Refusal(BAD_IMAGE) for another format, a damaged header, or a size outside the limits.
    """
    try:
        header = read_image_header(payload, max_pixels=limits.max_pixels)
    except ImageError as error:
        raise Refusal(RefusalReason.BAD_IMAGE, str(error)) from error
    encoding = Encoding(header.format)
    if expected is not None and encoding is not expected:
        raise Refusal(RefusalReason.BAD_IMAGE, f"expected a {expected} file, got {encoding}")
    shape = (header.height, header.width, header.channels)
    return Pixels(
        encoding=encoding, dtype="uint8" if header.bit_depth <= 8 else "uint16", shape=shape, color=color
    )


def check_crc32c(payload: memoryview, claimed: int | None) -> None:
    """Raise Refusal(CHECKSUM) if the sender gave a CRC-32C and the payload has another."""
    if claimed is None:
        return
    actual = google_crc32c.value(bytes(payload))  # the C function takes bytes alone
    if actual != claimed:
        raise Refusal(RefusalReason.CHECKSUM, f"expected crc32c {claimed}, the payload has {actual}")


def _dimensions(shape: object) -> tuple[int, ...]:
    """The shape as a tuple of two or three plain ints with a known number of channels."""
    plain = isinstance(shape, list) and all(type(side) is int for side in shape)
    if not plain or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in CHANNELS):  # type: ignore[arg-type, index]
        raise bad_header(f"expected shape [H, W] or [H, W, C] with C in 1, 3, 4; got {repr(shape)[:80]}")
    return tuple(shape)  # type: ignore[arg-type]


def _channel_order(dims: tuple[int, ...], color: str) -> str:
    """One channel is grey whatever the camera is set to; three or four cannot come from a grey camera."""
    if len(dims) == 2 or dims[2] == 1:
        return "gray"
    if color == "gray":
        raise bad_header(f"expected one channel from a grey camera, got shape {list(dims)}")
    return color
