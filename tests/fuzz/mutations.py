"""How valid input becomes invalid: byte by byte, part by part, and value by value in what is structured."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

TOKENS = (
    b"", b"\x00", b"\xff", b"APG1", b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"-Infinity",
    b"1e999", b"\\u0000", b"\\ud800", b"../", b"camera=", b";", b"=", b"msg", b"shape", b"\xff\xd8\xff",
    b"\xff\xd9", b"\xff\xc0", b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"IEND", b"__metadata__",
    b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x80", b"\xcb\x7f\xf8\0\0\0\0\0\0",
)  # fmt: skip
NUMBERS = (0, 1, 2, 15, 16, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 16, 2**31, 2**63, 2**64, 10**40, 0.0, -0.5, 1e308, math.nan, math.inf, "", "a",
    "cam1", "../../etc/passwd", "\x00", "\ud800", "é" * 70, "x" * 5000, [], [16, 16, 3], [16, 16], [-16, 16, 3],
    [0, 0, 0], [2**40, 2**40, 4], [16.0, 16, 3], [True, 16, 3], ["16", 16, 3], [[16], 16], {},
    {"a": {"b": {"c": {}}}},
    "uint8", "uint16", "float64", "raw", "jpeg", "png", "gray",
)  # fmt: skip


def mutate(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """One to four small changes. other: a second valid input to take pieces from."""
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        random.choice(_CHANGES)(random, out, other)
    return bytes(out)


def mutate_parts(random: Random, parts: Sequence[bytes]) -> list[bytes]:
    """A multipart message with a part changed, dropped, doubled, moved or added."""
    out = list(parts)
    for _ in range(random.randint(1, 2)):
        spot = random.randrange(len(out)) if out else 0
        kind = random.randrange(6)
        if kind == 0 and out:
            del out[spot]
        elif kind == 1 and out:
            out.insert(spot, out[spot])
        elif kind == 2 and out:
            out.append(out.pop(spot))
        elif kind == 3:
            out.insert(spot, random.choice(TOKENS) or random.randbytes(random.randrange(20)))
        elif out:
            out[spot] = mutate(random, out[spot], random.choice(out))
    return out


def mutate_value(random: Random, value: Any) -> Any:
    """A JSON value with one thing in it replaced, dropped, renamed or wrapped; `value` itself stays."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        return _mutate_dict(random, value)
    if isinstance(value, list) and value and random.random() < 0.5:
        spot = random.randrange(len(value))
        return [*value[:spot], mutate_value(random, value[spot]), *value[spot + 1 :]]
    return random.choice((random.choice(VALUES), [value], {"a": value}, str(value)))


def json_bytes(value: Any) -> bytes:
    """JSON as Python writes it, NaN included; lone surrogates as escapes."""
    return json.dumps(value).encode("ascii")


def png_head(width: int, height: int, depth: int, colour: int, tail: bytes = b"") -> bytes:
    """The first bytes of a PNG, the checksum right whatever the values are."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + tail


def number(random: Random) -> int:
    """A number at an edge, or near one."""
    return max(0, random.choice(NUMBERS) + random.choice((-1, 0, 0, 1)))


def _mutate_dict(random: Random, value: dict[str, Any]) -> dict[str, Any]:
    out, name = dict(value), random.choice(list(value))
    kind = random.randrange(5)
    if kind == 0:
        del out[name]
    elif kind == 1:
        out[random.choice(("a", "", "V", "camera ", "__class__"))] = out.pop(name)
    else:
        out[name] = mutate_value(random, value[name])
    return out


def _flip(random: Random, out: bytearray, other: bytes) -> None:
    if out:
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, out: bytearray, other: bytes) -> None:
    if out:
        out[random.randrange(len(out))] = random.randrange(256)


def _insert(random: Random, out: bytearray, other: bytes) -> None:
    spot = random.randrange(len(out) + 1)
    out[spot:spot] = random.choice(TOKENS) or random.randbytes(random.randrange(1, 9))


def _delete(random: Random, out: bytearray, other: bytes) -> None:
    start = random.randrange(len(out) + 1)
    del out[start : start + random.randrange(1, 33)]


def _cut(random: Random, out: bytearray, other: bytes) -> None:
    del out[random.randrange(len(out) + 1) :]


def _repeat(random: Random, out: bytearray, other: bytes) -> None:
    start = random.randrange(len(out) + 1)
    out[start:start] = out[start : start + random.randrange(1, 65)] * random.randrange(1, 17)


def _splice(random: Random, out: bytearray, other: bytes) -> None:
    start, spot = random.randrange(len(other) + 1), random.randrange(len(out) + 1)
    piece = other[start : start + random.randrange(1, 65)]
    out[spot : spot + len(piece)] = piece


def _set_number(random: Random, out: bytearray, other: bytes) -> None:
    code = random.choice(("B", ">H", "<H", ">I", "<I", ">Q", "<Q"))
    data = struct.pack(code, number(random) % 256 ** struct.calcsize(code))
    spot = random.randrange(len(out) + 1)
    out[spot : spot + len(data)] = data


_CHANGES = (_flip, _overwrite, _insert, _delete, _cut, _repeat, _splice, _set_number)
