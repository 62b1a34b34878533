"""What is fuzzed: a reader of bytes from outside, how its input is made, and what must hold of every answer.

A target's `check` returns quietly for input that is let in or refused as it should be; anything else that it
raises is a finding.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import msgpack
import numpy as np
import simplejpeg

import core
from core.errors import BankError, ImageError
from core.image import MAX_SIDE, MIN_SIDE, decode_image, read_header
from daemon import wire_header
from daemon.cameras import CameraDirectory
from daemon.flow import Protocol, Refusal
from daemon.wire import WireLimits, parse, protocol_of, refusal_reply
from tests.daemon.ingress_rig import CAMERAS, native, stock
from tests.fuzz.mutations import VALUES, json_bytes, mutate, mutate_parts, mutate_value, number, png_head
from tests.pictures import samples
from tests.tiny import write_tiny_clip

DIRECTORY = CameraDirectory(CAMERAS)
LIMITS = WireLimits(max_message_bytes=4_000_000, max_pixels=65_536)
MAX_REPLY_BYTES = 4096

Message = list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader. make: input from randomness, valid now and then. share: of all cases, by its speed and reach."""

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    share: float


# wire: whole messages


def make_message(random: Random) -> Message:
    """A message of either protocol with one thing wrong, or noise."""
    kind = random.random()
    if kind < 0.05:
        return [random.randbytes(random.randrange(40)) for _ in range(random.randrange(9))]
    if kind < 0.5:
        return mutate_parts(random, random.choice(messages()))
    if kind < 0.75:
        header = mutate_value(random, _NATIVE_HEADER)
        packed = random.random() < 0.3
        body = _packed(header) if packed else json_bytes(header)
        return [b"", b"APG1", body, random.choice(payloads())]
    return [
        b"",
        json_bytes(mutate_value(random, _STOCK_HEADER | {"msg": _msg(random)})),
        random.choice(payloads()),
    ]


def check_message(parts: Message) -> None:
    """Let in as what it says, or refused with a short reply in its own protocol."""
    views = [memoryview(part) for part in parts]
    try:
        frame = parse(b"route", views, DIRECTORY, LIMITS)
    except Refusal as refusal:
        _check_reply(refusal, protocol_of(views))
        return
    assert DIRECTORY.line_of(frame.identity.camera) == frame.identity.line
    assert all(MIN_SIDE <= side <= MAX_SIDE for side in frame.shape[:2])
    assert frame.shape[0] * frame.shape[1] <= LIMITS.max_pixels
    assert frame.payload.nbytes < LIMITS.max_message_bytes
    if frame.encoding == "raw":
        assert math.prod(frame.shape) * (1 if frame.dtype == "uint8" else 2) == frame.payload.nbytes


def _check_reply(refusal: Refusal, protocol: Protocol | None) -> None:
    reply = refusal_reply(refusal)
    assert refusal.protocol is protocol
    assert len(reply) <= MAX_REPLY_BYTES
    assert refusal.camera == "unknown" or DIRECTORY.line_of(refusal.camera) is not None
    if refusal.protocol is Protocol.NATIVE:
        assert json.loads(reply)["status"] == "error"
    else:
        assert reply.startswith(b"ERR ")


# header: the header alone, deeper


def make_header(random: Random) -> tuple[bytes, bool]:
    """Header bytes, and whether msgpack is allowed."""
    packed = random.random() < 0.5
    if random.random() < 0.03:
        return _nested(random.randrange(2000), packed=packed), True
    value = random.choice((_NATIVE_HEADER, _STOCK_HEADER))
    for _ in range(random.randrange(3)):
        value = mutate_value(random, value)
    data = _packed(value) if packed else json_bytes(value)
    if random.random() < 0.6:
        data = mutate(random, data, json_bytes(_STOCK_HEADER))
    return data, random.random() < 0.7


def _nested(depth: int, *, packed: bool) -> bytes:
    """More levels than a recursive reader has stack for."""
    return b"\x81\xa1a" + b"\x91" * depth + b"\x01" if packed else b'{"a":' + b"[" * depth + b"]" * depth + b"}"


def check_header(case: tuple[bytes, bool]) -> None:
    """A shallow dict of text keys without NaN, or refused."""
    data, msgpack_allowed = case
    try:
        fields = wire_header.read_header(data, msgpack_allowed=msgpack_allowed)
    except Refusal as refusal:
        _check_reply(refusal, None)
        return
    assert len(data) <= wire_header.MAX_HEADER_BYTES
    _check_shallow(fields, depth=0)


def _check_shallow(value: object, *, depth: int) -> None:
    assert depth <= wire_header.MAX_DEPTH
    if isinstance(value, dict):
        assert all(isinstance(name, str) for name in value)
    if isinstance(value, float):
        assert math.isfinite(value)
    inner: Iterable[object] = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    for each in inner:
        _check_shallow(each, depth=depth + isinstance(each, dict | list))


# image: what a file says of itself; decode: the pixels as well


def make_image(random: Random) -> bytes:
    """A file whose header or body is damaged, or one that claims what it likes."""
    if random.random() < 0.3:
        depth, colour = random.choice((1, 2, 4, 8, 16, random.randrange(256))), random.randrange(8)
        tail = random.choice(images())[33:] if random.random() < 0.5 else random.randbytes(random.randrange(60))
        return png_head(number(random) % 2**32, number(random) % 2**32, depth, colour, tail)
    return mutate(random, random.choice(images()), random.choice(images()))


def check_image(data: bytes) -> None:
    """A size within the limits, or ImageError."""
    try:
        header = read_header(data, max_pixels=LIMITS.max_pixels)
    except ImageError:
        return
    assert header.format in ("jpeg", "png")
    assert min(header.width, header.height) >= MIN_SIDE
    assert header.width * header.height <= LIMITS.max_pixels
    assert 1 <= header.channels <= 4


def check_decoded(data: bytes) -> None:
    """A picture of the size that the header says, or ImageError."""
    try:
        image = decode_image(data, max_pixels=LIMITS.max_pixels)
    except ImageError:
        return
    header = read_header(data, max_pixels=LIMITS.max_pixels)
    assert image.shape == (header.height, header.width, 3)
    assert image.dtype == np.uint8


# bank: a file or Redis value


def make_bank(random: Random) -> bytes:
    """A bank with damaged bytes, or a whole safetensors file whose header or metadata says something else."""
    data = bank()
    if random.random() < 0.4:
        return mutate(random, data, data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if random.random() < 0.6:
        meaning = mutate_value(random, json.loads(header["__metadata__"]["aprilgan_bank"]))
        header["__metadata__"]["aprilgan_bank"] = json.dumps(meaning)
    else:
        header = mutate_value(random, header)
    head = json_bytes(header)
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def check_bank(data: bytes) -> None:
    """A bank of finite numbers, or BankError."""
    try:
        read = core.bank_from_bytes(data)
    except BankError:
        return
    words = () if read.text_features is None else (read.text_features,)
    assert all(np.isfinite(rows.numpy()).all() for rows in (*read.tokens, *read.descriptors, *words))


# seeds


def messages() -> list[Message]:
    """Valid messages of every kind."""
    return _messages()


def payloads() -> list[bytes]:
    """Payloads that fit some valid header."""
    return [parts[-1] for parts in _messages()]


@cache
def _messages() -> list[Message]:
    jpeg, png = images()[0], images()[2]
    packed = _packed(_NATIVE_HEADER)
    return [
        native(),
        native(payload=jpeg, enc="jpeg", dtype=None, shape=None),
        native(payload=png, enc="png", dtype=None, shape=None, ts_ns=1_700_000_000_000_000_000, part="A1", line=4),
        [b"", b"APG1", packed, native()[-1]],
        stock("cam1"),
        stock("camera=cam2;part=A123;seq=17;ts=2026-01-02T03:04:05+00:00"),
        [b"", json_bytes({"msg": "cam1"}), jpeg],
    ]


@cache
def images() -> list[bytes]:
    """JPEG and PNG files, colour and grey, 8 and 16 bit."""
    random = np.random.default_rng(5)
    colour = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), (48, 32))
    grey16 = colour[:, :, 0].astype(np.uint16) * 257
    return [
        simplejpeg.encode_jpeg(np.ascontiguousarray(colour)),
        simplejpeg.encode_jpeg(np.ascontiguousarray(colour[:, :, :1]), colorspace="GRAY"),
        *(cv2.imencode(".png", pixels)[1].tobytes() for pixels in (colour, colour[:, :, 0], grey16)),
    ]


@cache
def bank() -> bytes:
    """A real bank of the tiny encoder."""
    with tempfile.TemporaryDirectory(prefix="ag-fuzz-") as folder:
        model = write_tiny_clip(Path(folder))
        scorer = core.load_scorer(str(model.config), weights=model.weights, device="cpu")
        return core.bank_to_bytes(core.enrol(scorer, samples(2), product="cloth").bank)[0]


_NATIVE_HEADER: dict[str, Any] = json.loads(native()[2]) | {
    "line": 4, "part": "A1", "ts_ns": 1, "color": "bgr", "crc32c": 5, "deadline_ms": 90
}  # fmt: skip
_STOCK_HEADER: dict[str, Any] = json.loads(stock("cam1")[1])


def _msg(random: Random) -> object:
    if random.random() < 0.5:
        return random.choice(VALUES)
    claims = [f"{name}={random.choice(VALUES)}" for name in random.sample(("camera", "part", "seq", "ts", "x"), 3)]
    return ";".join(["camera=cam1", *claims])


def _packed(value: Any) -> bytes:
    try:
        return bytes(msgpack.packb(value, unicode_errors="surrogatepass"))
    except (OverflowError, ValueError):  # msgpack ends at 64 bits
        return json_bytes(value)


TARGETS = (
    Target(name="wire", make=make_message, check=check_message, share=0.4),
    Target(name="header", make=make_header, check=check_header, share=0.25),
    Target(name="image", make=make_image, check=check_image, share=0.2),
    Target(name="decode", make=make_image, check=check_decoded, share=0.05),
    Target(name="bank", make=make_bank, check=check_bank, share=0.1),
)
