"""A dataclass as a dictionary, for what is done with every frame."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast


def fields_of(value: object) -> dict[str, Any]:
    """The fields of a dataclass instance by name, as they are.

    `dataclasses.asdict` copies them in depth, which nobody needs of frozen values on their way to JSON or msgpack:
    it was a quarter of the ingress loop's processor time under overload (docs/notes/0010-faults.md). Raises
    TypeError for anything else.
    """
    return {each.name: getattr(value, each.name) for each in fields(cast(Any, value))}
