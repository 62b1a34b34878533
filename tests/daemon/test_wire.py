"""What is let in from the wire, and what is refused with the reason."""

from __future__ import annotations

import json
import struct
import zlib
from datetime import UTC, datetime
from typing import Any

import google_crc32c
import msgpack
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from daemon.cameras import CameraDirectory
from daemon.flow import Encoding, Protocol, RawFrame, Refusal, RefusalReason
from daemon.wire import WireLimits, parse, refusal_reply
from tests.daemon.ingress_rig import CAMERAS, PIXELS, native, stock

DIRECTORY = CameraDirectory(CAMERAS)
LIMITS = WireLimits(max_message_bytes=4_000_000, max_pixels=1_000_000)
JPEG = simplejpeg.encode_jpeg(np.full((32, 48, 3), 90, np.uint8))


def png_header(width: int, height: int) -> bytes:
    """The first bytes of a PNG of that size; there are no pixels behind."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def let_in(parts: list[bytes]) -> RawFrame:
    return parse(b"route", [memoryview(part) for part in parts], DIRECTORY, LIMITS)


def refused(parts: list[bytes]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        let_in(parts)
    return caught.value


def fate(parts: list[bytes]) -> RawFrame | bytes:
    """The frame, or the reply that refuses it."""
    try:
        return let_in(parts)
    except Refusal as refusal:
        return refusal_reply(refusal)


def test_a_stock_raw_frame_is_let_in() -> None:
    frame = let_in(stock("cam1"))
    assert (frame.protocol, frame.encoding) == (Protocol.IMAGEZMQ, Encoding.RAW)
    assert (frame.identity.camera, frame.identity.line, frame.shape) == ("cam1", 4, (16, 16, 3))
    assert bytes(frame.payload) == PIXELS


def test_a_stock_jpeg_has_the_size_its_header_says() -> None:
    frame = let_in([b"", b'{"msg": "cam1"}', JPEG])
    assert (frame.encoding, frame.shape) == (Encoding.JPEG, (32, 48, 3))


def test_msg_may_name_the_part() -> None:
    identity = let_in(stock("camera=cam2;part=A 123;seq=17;ts=2026-01-02T03:04:05+01:00")).identity
    assert (identity.camera, identity.line, identity.part, identity.seq) == ("cam2", 5, "A 123", 17)
    assert identity.captured_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert let_in(stock("camera=cam2;ts=86400.5")).identity.captured_at == datetime(
        1970, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC
    )


def test_a_native_header_may_be_msgpack() -> None:
    header = {"v": 1, "camera": "cam1", "seq": 7, "enc": "jpeg", "boot": "b", "ts_ns": 1_000_000_000}
    frame = let_in([b"", b"APG1", bytes(msgpack.packb(header)), JPEG])
    assert (frame.identity.seq, frame.identity.boot) == (7, "b")
    assert frame.identity.captured_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(("shape", "color"), [([16, 48], "gray"), ([16, 48, 1], "gray"), ([16, 16, 3], "rgb")])
def test_one_channel_is_grey_whatever_the_camera_says(shape: list[int], color: str) -> None:
    assert let_in(native(shape=shape, color="rgb")).color == color


def test_sixteen_bit_pixels_count_two_bytes() -> None:
    assert let_in(native(shape=[16, 24], dtype="uint16")).dtype == "uint16"


def test_a_right_checksum_is_let_in() -> None:
    let_in(native(crc32c=google_crc32c.value(PIXELS)))


MALFORMED: list[list[bytes]] = [
    [b"x"],
    [b""],
    [b"", b"{}"],
    [b'{"msg": "cam1"}', JPEG],
    [b"x", b'{"msg": "cam1"}', JPEG],
    [b"", b'{"msg": "cam1"}', JPEG, b""],
    [b""] * 500,
    [b"APG1", b"{}", PIXELS],
    [b"", b"APG1", b"{}"],
    [b"", b"APG1", b"{}", PIXELS, b""],
]


@pytest.mark.parametrize("parts", MALFORMED)
def test_a_message_of_the_wrong_form_is_malformed(parts: list[bytes]) -> None:
    assert refused(parts).reason is RefusalReason.MALFORMED


@pytest.mark.parametrize(
    "msg", ["stranger", "", None, 7, ["cam1"], {"camera": "cam1"}, "camera=stranger", "camera="]
)
def test_an_unknown_sender_is_named_unknown(msg: object) -> None:
    refusal = refused(stock(msg))
    assert (refusal.reason, refusal.camera) == (RefusalReason.UNKNOWN_CAMERA, "unknown")
    assert refusal_reply(refusal).startswith(b"ERR unknown camera")


BAD_HEADERS: list[bytes] = [
    b"",
    b"[]",
    b"7",
    b"{",
    b"\xff\xfe{}",
    b'{"msg": NaN}',
    b'{"msg": Infinity}',
    b'{"msg": 1e999}',
    b'{"msg": "cam1", "msg": "cam1"}',
    b'{"msg": [[[]]]}',
    b"[" * 4000,
    b'{"msg": "' + b"x" * 4096 + b'"}',
]


@pytest.mark.parametrize("header", BAD_HEADERS)
@pytest.mark.parametrize("protocol", [[b""], [b"", b"APG1"]])
def test_a_header_that_is_no_plain_object_is_refused(header: bytes, protocol: list[bytes]) -> None:
    assert refused([*protocol, header, PIXELS]).reason is RefusalReason.BAD_HEADER


@pytest.mark.parametrize(
    "header", [b"\x81\x01\x02", b"\x82\xa1a\x01\xa1a\x01", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa1v"]
)
def test_a_msgpack_header_is_read_as_strictly(header: bytes) -> None:
    assert refused([b"", b"APG1", header, PIXELS]).reason is RefusalReason.BAD_HEADER


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float32"},
        {"dtype": ">u2"},
        {"dtype": None},
        {"shape": None},
        {"shape": [768]},
        {"shape": [16, 16, 3, 1]},
        {"shape": [16, 24, 2]},
        {"shape": [16, 16, True]},
        {"shape": [16.0, 16, 3]},
        {"shape": [8, 32, 3]},
        {"shape": [16385, 16, 3]},
        {"shape": [-16, -16, 3]},
        {"shape": [16, 17, 3]},
        {"shape": [2**62, 2**62, 4]},
        {"shape": [4096, 4096, 3]},
        {"dtype": "uint16"},
        {"color": "cmyk"},
        {"color": "gray"},
        {"enc": "gif"},
        {"enc": None},
        {"v": 2},
        {"v": True},
        {"v": None},
        {"seq": -1},
        {"seq": 2**63},
        {"seq": "1"},
        {"seq": None},
        {"boot": "../x"},
        {"boot": "a:b"},
        {"boot": 7},
        {"part": "a\nb"},
        {"part": "x" * 201},
        {"part": 7},
        {"ts_ns": -1},
        {"ts_ns": 2**63 - 1, "seq": 1.5},
        {"deadline_ms": 0},
        {"deadline_ms": 600_001},
        {"crc32c": -1},
        {"colour": "bgr"},
    ],
)
def test_a_native_field_that_means_nothing_allowed_is_refused(change: dict[str, Any]) -> None:
    assert refused(native(**change)).reason is RefusalReason.BAD_HEADER


@pytest.mark.parametrize(
    "msg",
    ["camera=cam1;camera=cam1", "camera=cam1;x=1", "camera=cam1;seq=one", "camera=cam1;ts=2026-01-02T03:04:05"],
)
def test_a_msg_that_means_nothing_allowed_is_refused_in_its_cameras_name(msg: str) -> None:
    refusal = refused(stock(msg))
    assert refusal.reason is RefusalReason.BAD_HEADER


def test_a_stock_header_with_a_field_too_many_is_refused() -> None:
    assert refused(stock("cam1", extra=1)).camera == "cam1"


def test_a_colour_frame_of_a_grey_camera_is_refused() -> None:
    assert refused(stock("grey")).reason is RefusalReason.BAD_HEADER


def test_a_line_that_contradicts_the_configuration_is_refused() -> None:
    refusal = refused(native(line=5))
    assert (refusal.reason, refusal.camera, refusal.seq) == (RefusalReason.WRONG_LINE, "cam1", 1)


def test_a_wrong_checksum_is_refused() -> None:
    assert refused(native(crc32c=1)).reason is RefusalReason.CHECKSUM


@pytest.mark.parametrize(
    "payload",
    [b"", b"GIF89a", JPEG[:4], png_header(16384, 16384), png_header(4, 4), png_header(64, 64)[:-1] + b"x"],
)
def test_an_image_file_is_judged_by_its_header(payload: bytes) -> None:
    enc = "png" if payload.startswith(b"\x89PNG") else "jpeg"
    assert refused(native(enc=enc, payload=payload)).reason is RefusalReason.BAD_IMAGE


def test_a_file_of_another_format_than_named_is_refused() -> None:
    assert refused(native(enc="png", payload=JPEG)).reason is RefusalReason.BAD_IMAGE


def test_an_oversize_message_is_refused_politely() -> None:
    assert refused(stock("cam1", bytes(4_000_000))).reason is RefusalReason.OVERSIZE


def test_a_refusal_speaks_the_senders_protocol() -> None:
    reply = json.loads(refusal_reply(refused(native(seq=9, enc="gif"))))
    assert (reply["status"], reply["seq"], reply["reason"]) == ("error", 9, "bad_header")
    assert "expected enc" in reply["detail"]
    assert refusal_reply(refused(stock("cam1", shape=[1, 1, 3]))).startswith(b"ERR expected sides")


@given(
    st.lists(
        st.one_of(st.binary(max_size=64), st.sampled_from([b"", b"APG1", b'{"msg":"cam1"}', JPEG])), max_size=8
    )
)
def test_whatever_comes_is_let_in_or_refused_with_a_reply(parts: list[bytes]) -> None:
    assert fate(parts)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted({"v", "camera", "line", "part", "seq", "boot", "ts_ns", "enc", "dtype", "shape"})), JSON
)
def test_any_value_in_any_native_field_is_let_in_or_refused(name: str, value: object) -> None:
    assert fate(native(**{name: value}))
