"""A file's training record as a person reads it: its fields a line each, its history a table. Pure.

The record is whatever the file holds; nothing of its shape is relied on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HISTORY = "history"


def record_lines(record: Mapping[str, Any]) -> dict[str, str]:
    """Every field but the history: "options batch" -> "8"."""
    return dict(_flat({name: value for name, value in record.items() if name != HISTORY}))


def history_rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row a step or epoch, all with the columns that some row fills; none where there is no history."""
    steps = record.get(HISTORY)
    rows = [dict(_flat(step)) for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
    columns = dict.fromkeys(name for row in rows for name, value in row.items() if value)
    return [{name: row.get(name, "") for name in columns} for row in rows]


def _flat(fields: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        said = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, said)
        else:
            yield said, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_text(each) for each in value)
    return "" if value is None else str(value)
