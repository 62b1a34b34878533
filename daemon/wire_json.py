"""JSON as the wire wants it: strict in, compact out."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def compact(value: object) -> bytes:
    """One line of ASCII. Raises ValueError for NaN and infinity: they are not JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def strict(data: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises ValueError for what is no JSON, keys given twice, NaN, infinity and numbers that overflow to it;
    RecursionError for absurd nesting.
    """
    return json.loads(
        data.decode("utf-8"),
        object_pairs_hook=without_duplicates,
        parse_constant=_refuse_constant,
        parse_float=_finite,
    )


def without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """An object's pairs to a dict. Raises ValueError for a key that is given twice or is not text."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise ValueError(f"key {name!r} is not text")
        if name in fields:
            raise ValueError(f"key {name[:64]!r} is given twice")
        fields[name] = value
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:32]} is not a finite number")
    return value
