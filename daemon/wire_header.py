"""Reading a message header strictly: bytes in, plain checked values out. Everything odd is a Refusal.

Both camera protocols use it. It knows no image and no camera.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgpack

from daemon.flow import Refusal, RefusalReason
from daemon.wire_json import strict, without_duplicates

MAX_HEADER_BYTES = 4096
MAX_DEPTH = 3
MAX_PART_LENGTH = 200
MAX_SEQ = 2**63 - 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def bad_header(detail: str) -> Refusal:
    """A refusal for a header that can be read but does not mean anything allowed."""
    return Refusal(RefusalReason.BAD_HEADER, detail)


@contextmanager
def blamed_on(camera: str | None, *, seq: int | None) -> Iterator[None]:
    """Write onto a refusal whose message it was. camera: a configured name, None while not known."""
    try:
        yield
    except Refusal as refusal:
        refusal.camera = camera or refusal.camera
        refusal.seq = seq
        raise


def read_header(data: bytes, *, msgpack_allowed: bool) -> dict[str, Any]:
    """A header's fields. msgpack_allowed: whether a msgpack map is as good as a JSON object.

    Raises Refusal for more than 4 KiB, what is no object, nesting deeper than 3, NaN or infinity,
    duplicate or non-text keys.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise bad_header(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
    # a msgpack map begins 0x80..0x8f, 0xde or 0xdf: never the first byte of a JSON text in UTF-8
    is_msgpack = msgpack_allowed and data[:1] >= b"\x80"
    fields = _from_msgpack(data) if is_msgpack else _from_json(data)
    if not isinstance(fields, dict):
        raise bad_header(f"expected the header to be an object, got {type(fields).__name__}")
    _check_values(fields, room=MAX_DEPTH)
    return fields


def only_known(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise Refusal if a field is not among `known`: a misspelt option must not pass for its default."""
    unknown = sorted(set(fields) - known)
    if unknown:
        raise bad_header(f"unknown field {unknown[0][:64]!r}, expected some of {', '.join(sorted(known))}")


def whole_number(fields: Mapping[str, Any], name: str, *, low: int = 0, high: int = MAX_SEQ) -> int | None:
    """An integer field in [low, high]; None where it is absent or null. True and 1.0 are not integers."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad_header(f"expected {name} to be an integer in {low}..{high}, got {repr(value)[:80]}")
    return value


def one_of(fields: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str | None:
    """A text field out of `allowed`; None where it is absent or null."""
    value = fields.get(name)
    if value is not None and value not in allowed:
        raise bad_header(f"expected {name} to be one of {', '.join(allowed)}; got {repr(value)[:80]}")
    return value


def identifier(fields: Mapping[str, Any], name: str) -> str | None:
    """A text field that may stand in a key: letters, digits, `_` and `-`, at most 64; None where absent."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise bad_header(f"expected {name} to match {_ID.pattern}, got {repr(value)[:80]}")
    return value


def part_name(value: object) -> str | None:
    """The part's name: printable text of at most 200 characters; None where it is absent or empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_PART_LENGTH or not value.isprintable():
        raise bad_header(
            f"expected part to be printable text of at most {MAX_PART_LENGTH} characters, got {repr(value)[:80]}"
        )
    return value


def instant(seconds: float, shown: object) -> datetime:
    """Seconds since 1970 to a UTC time. shown: what the sender wrote, for the refusal."""
    if not 0 <= seconds <= _LATEST:
        raise bad_header(f"expected a time between 1970 and 9999, got {repr(shown)[:80]}")
    return datetime.fromtimestamp(seconds, UTC)


def _from_json(data: bytes) -> Any:
    try:
        return strict(data)
    except (ValueError, RecursionError) as error:
        raise bad_header(f"expected a JSON header: {str(error)[:120]}") from error


def _from_msgpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, object_pairs_hook=without_duplicates, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise bad_header(f"expected a msgpack header: {str(error)[:120]}") from error


def _check_values(value: object, *, room: int) -> None:
    """Raise Refusal for NaN, infinity, or more than `room` levels. Goes no deeper itself: 1,200 bytes of "["
    nest deeper than Python's stack."""
    if isinstance(value, float) and not math.isfinite(value):  # JSON cannot say it, msgpack can
        raise bad_header(f"expected finite numbers, got {value}")
    if not isinstance(value, dict | list):
        return
    if room == 0:
        raise bad_header(f"expected a header nested at most {MAX_DEPTH} deep")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_values(inner, room=room - 1)
