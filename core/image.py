"""Bytes or a raw array in, an (H, W, 3) uint8 RGB picture out. One decoder for live frames and enrolment.

Formats are told by their magic: JPEG and PNG, nothing else. The size is read from the header and checked
before anything is decoded, because 48 KB of PNG can unpack to gigabytes. Damaged files are refused:
ordinary decoders hand back half-grey pictures from truncated JPEGs without a word. EXIF orientation is
ignored, since a camera bolted to a line does not turn.

Rules of conversion, so that none happens by accident: 16-bit values are scaled from 0..65535 to 0..255
and rounded; one channel is copied to three; a fourth channel (alpha) is dropped, not blended.

Knows no torch: the ingress process imports this module.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

# OpenCV reads its own limit once, as it is imported; ours is checked first and is the one with the message.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from core.errors import ImageError

MIN_SIDE = 16
MAX_SIDE = 16384
MAX_PIXELS = 64_000_000

Buffer: TypeAlias = bytes | bytearray | memoryview
Image: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, RGB, C-contiguous."""

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; a palette decodes to three


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What an image file says of itself. Sizes in pixels, bit_depth per channel."""

    format: str
    width: int
    height: int
    channels: int
    bit_depth: int


def read_header(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Read format and size without decoding.

    Raises ImageError for another format, a damaged header, a side outside 16..16384 or too many pixels.
    """
    view = memoryview(data)
    if bytes(view[:3]) == _JPEG_MAGIC:
        header = _jpeg_header(view)
    elif bytes(view[:8]) == _PNG_MAGIC:
        header = _png_header(view)
    else:
        raise ImageError(f"expected a JPEG or PNG file, got {len(view)} bytes that begin {bytes(view[:8])!r}")
    check_size(header.height, header.width, max_pixels=max_pixels)
    return header


def check_size(height: int, width: int, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ImageError unless both sides lie in 16..16384 and the product within `max_pixels`."""
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise ImageError(f"expected sides of {MIN_SIDE} to {MAX_SIDE} pixels, got {width}x{height}")
    if height * width > max_pixels:
        raise ImageError(f"expected at most {max_pixels} pixels, got {width}x{height} = {height * width}")


def decode_image(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a JPEG or PNG file strictly to (H, W, 3) uint8 RGB.

    Raises ImageError for what `read_header` refuses, and for any damage within the file.
    """
    header = read_header(data, max_pixels=max_pixels)
    return _decode_jpeg(data) if header.format == "jpeg" else _decode_png(data, header)


def image_from_raw(data: Buffer, *, dtype: str, shape: tuple[int, ...], color: str) -> Image:
    """Raw pixels to (H, W, 3) uint8 RGB.

    data: C-contiguous `shape` of `dtype`. dtype: "uint8" or "uint16" (native byte order).
    shape: (H, W) or (H, W, C), C in {1, 3, 4}. color: "bgr", "rgb" or "gray" order of C = 3 and 4.

    Raises ImageError when these do not fit together.
    """
    if dtype not in ("uint8", "uint16"):
        raise ImageError(f"expected dtype uint8 or uint16, got {dtype!r}")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"expected shape (H, W) or (H, W, C) with C in 1, 3, 4; got {list(shape)}")
    if color not in ("bgr", "rgb", "gray"):
        raise ImageError(f"expected color bgr, rgb or gray, got {color!r}")
    expected = int(np.dtype(dtype).itemsize) * int(np.prod(shape, dtype=object))
    if len(memoryview(data).cast("B")) != expected:
        raise ImageError(
            f"expected {expected} bytes for {dtype} {list(shape)}, got {len(memoryview(data).cast('B'))}"
        )
    return _to_rgb(np.frombuffer(data, dtype=dtype).reshape(shape), bgr=color == "bgr")


def _jpeg_header(view: memoryview) -> ImageHeader:
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(view, strict=True)
    except ValueError as error:
        raise ImageError(f"damaged JPEG header: {error}") from error
    if colorspace not in ("YCbCr", "RGB", "Gray"):
        raise ImageError(f"expected a JPEG in YCbCr, RGB or grey, got {colorspace}")
    channels = 1 if colorspace == "Gray" else 3
    return ImageHeader(format="jpeg", width=width, height=height, channels=channels, bit_depth=8)


def _png_header(view: memoryview) -> ImageHeader:
    head = bytes(view[8:33])
    if len(head) < 25 or head[4:8] != b"IHDR" or zlib.crc32(head[4:21]) != struct.unpack(">I", head[21:25])[0]:
        raise ImageError("damaged PNG header: no valid IHDR chunk")
    width, height, depth, colour = struct.unpack(">IIBB", head[8:18])
    if colour not in _PNG_CHANNELS:
        raise ImageError(f"damaged PNG header: colour type {colour}")
    channels = _PNG_CHANNELS[colour]
    return ImageHeader(format="png", width=width, height=height, channels=channels, bit_depth=depth)


def _decode_jpeg(data: Buffer) -> Image:
    try:
        return np.ascontiguousarray(simplejpeg.decode_jpeg(memoryview(data), colorspace="RGB", strict=True))
    except ValueError as error:
        raise ImageError(f"damaged JPEG: {error}") from error


def _decode_png(data: Buffer, header: ImageHeader) -> Image:
    _check_png_chunks(memoryview(data), header)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"damaged PNG: {error}") from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise ImageError("damaged PNG: its pixels cannot be decoded")
    return _to_rgb(np.asarray(pixels), bgr=True)


def _check_png_chunks(view: memoryview, header: ImageHeader) -> None:
    """Check every checksum and that the compressed pixels are all there; decoders let both pass."""
    inflate = zlib.decompressobj()
    inflated, offset, kind = 0, 8, b""
    limit = header.height * (header.width * 8 + 8) + 1024  # 4 channels of 16 bit, a filter byte a row
    while offset + 12 <= len(view) and kind != b"IEND":
        length, kind = struct.unpack(">I4s", view[offset : offset + 8])
        body = view[offset + 4 : offset + 8 + length]
        checksum = bytes(view[offset + 8 + length : offset + 12 + length])
        if len(checksum) != 4 or zlib.crc32(body) != struct.unpack(">I", checksum)[0]:
            raise ImageError(f"damaged PNG: chunk {kind!r} at byte {offset} is cut short or fails its checksum")
        if kind == b"IDAT":
            inflated += _inflated_length(inflate, body[4:], limit - inflated)
        offset += 12 + length
    if kind != b"IEND" or not inflate.eof:
        raise ImageError("damaged PNG: the file ends before its picture does")


def _inflated_length(inflate: zlib._Decompress, data: memoryview, limit: int) -> int:
    length = 0
    try:
        while data and not inflate.eof:
            length += len(inflate.decompress(data, 1 << 20))
            data = memoryview(inflate.unconsumed_tail)
            if length > limit:
                raise ImageError("damaged PNG: more compressed pixels than its header has room for")
    except zlib.error as error:
        raise ImageError(f"damaged PNG: {error}") from error
    return length


def _to_rgb(pixels: npt.NDArray[Any], *, bgr: bool) -> Image:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    colour = pixels[:, :, :1].repeat(3, axis=2) if pixels.shape[2] in (1, 2) else pixels[:, :, :3]
    return np.ascontiguousarray(colour[:, :, ::-1] if bgr else colour, dtype=np.uint8)
