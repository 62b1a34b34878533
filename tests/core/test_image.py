"""Decoding: what a file holds comes out exactly, and a damaged or hostile one never becomes a picture."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ImageError
from core.image import decode_image, image_from_raw, read_header
from tests.pictures import weave

PICTURE = weave(1)
JPEG = simplejpeg.encode_jpeg(PICTURE, quality=92)
PNG = cv2.imencode(".png", PICTURE[:, :, ::-1])[1].tobytes()


def png_of(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_a_png_decodes_to_exactly_its_pixels_in_rgb():
    np.testing.assert_array_equal(decode_image(PNG), PICTURE)


def test_a_jpeg_decodes_close_to_its_pixels_in_rgb():
    assert np.abs(decode_image(JPEG).astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize(("data", "name"), [(JPEG, "jpeg"), (PNG, "png")])
def test_the_header_tells_format_and_size_without_decoding(data: bytes, name: str):
    header = read_header(data[: len(data) // 4] if name == "png" else data)
    assert (header.format, header.width, header.height, header.channels) == (name, 64, 48, 3)


@pytest.mark.parametrize("cut", [20, 100, len(JPEG) // 2, len(JPEG) - 3])
def test_a_jpeg_cut_short_is_refused_even_when_an_end_marker_is_glued_on(cut: int):
    for data in (JPEG[:cut], JPEG[:cut] + b"\xff\xd9"):
        with pytest.raises(ImageError):
            decode_image(data)


def test_a_jpeg_with_zeroes_in_its_middle_is_refused():
    large = simplejpeg.encode_jpeg(weave(2, size=(256, 256)), quality=92)
    middle = len(large) // 2
    with pytest.raises(ImageError, match="damaged JPEG"):
        decode_image(large[:middle] + bytes(400) + large[middle + 400 :])


@settings(max_examples=60)
@given(st.integers(min_value=0, max_value=len(PNG) - 1), st.integers(min_value=1, max_value=255))
def test_a_png_with_any_byte_changed_is_refused_or_unchanged(position: int, flip: int):
    damaged = bytearray(PNG)
    damaged[position] ^= flip
    try:
        picture = decode_image(bytes(damaged))
    except ImageError:
        return
    np.testing.assert_array_equal(picture, PICTURE)


@pytest.mark.parametrize("cut", [10, 40, len(PNG) // 2, len(PNG) - 12, len(PNG) - 1])
def test_a_png_cut_short_is_refused(cut: int):
    with pytest.raises(ImageError):
        decode_image(PNG[:cut])


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is enormous, with a valid IHDR."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_from_its_header():
    with pytest.raises(ImageError, match="at most"):
        read_header(bomb(16000, 16000))


def test_a_png_with_more_compressed_pixels_than_its_header_has_room_for_is_refused():
    body = bomb(20, 20)
    big = zlib.compress(bytes(10_000_000))
    start = body.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(big)) + b"IDAT" + big + struct.pack(">I", zlib.crc32(b"IDAT" + big))
    with pytest.raises(ImageError, match="more compressed pixels"):
        decode_image(body[:start] + chunk + body[-12:])


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(50), b"\xff\xd8\xff", b"BM" + bytes(60), bytes(100)])
def test_another_format_is_refused_with_what_was_expected(data: bytes):
    with pytest.raises(ImageError):
        decode_image(data)


def test_a_picture_smaller_than_16_pixels_is_refused():
    with pytest.raises(ImageError, match="16"):
        read_header(png_of(np.zeros((8, 40, 3), np.uint8)))


def test_sixteen_bits_are_scaled_and_rounded_never_truncated():
    pixels = np.zeros((20, 20, 3), np.uint16)
    pixels[0, 0] = (65535, 32768, 128)
    np.testing.assert_array_equal(decode_image(png_of(pixels))[0, 0], [0, 128, 255])


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped():
    grey = np.arange(400, dtype=np.uint8).reshape(20, 20)
    np.testing.assert_array_equal(decode_image(png_of(grey)), np.repeat(grey[:, :, None], 3, axis=2))
    four = np.dstack([PICTURE[:, :, ::-1], np.zeros(PICTURE.shape[:2], np.uint8)])
    np.testing.assert_array_equal(decode_image(png_of(four)), PICTURE)


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_raw_pixels_come_out_in_rgb_whatever_order_the_camera_has(color: str):
    sent = PICTURE[:, :, ::-1] if color == "bgr" else PICTURE
    received = image_from_raw(np.ascontiguousarray(sent).tobytes(), dtype="uint8", shape=sent.shape, color=color)
    np.testing.assert_array_equal(received, PICTURE)


@pytest.mark.parametrize(
    ("dtype", "shape", "color"),
    [
        ("float32", (20, 20, 3), "bgr"),
        ("uint8", (20, 20, 2), "bgr"),
        ("uint8", (20,), "bgr"),
        ("uint8", (20, 20, 3), "yuv"),
        ("uint8", (21, 20, 3), "bgr"),
        ("uint16", (20, 20, 3), "bgr"),
    ],
)
def test_raw_pixels_that_do_not_fit_their_description_are_refused(dtype: str, shape: tuple[int, ...], color: str):
    with pytest.raises(ImageError, match="expected"):
        image_from_raw(bytes(20 * 20 * 3), dtype=dtype, shape=shape, color=color)
