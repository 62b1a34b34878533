"""The name by which a text tower knows a product: checked before anything is loaded."""

from __future__ import annotations

import core
from daemon.admin.output import remark
from daemon.admin.session import Refused


def checked_object_name(name: str | None) -> str | None:
    """The name as given. Raises Refused for one without a letter in it."""
    if name is not None and not name.strip():
        raise Refused(f'--object: expected what the part is, in words, like "metal nut"; got {name!r}')
    return name


def remark_on_object_name(scorer: core.Scorer, name: str | None) -> None:
    """Say so where a method has words and nobody said which, or the other way round."""
    if scorer.zero_shot is not None and name is None:
        remark('No --object: the part is called "object". Its real name in words scores better.')
    if scorer.zero_shot is None and name is not None:
        remark(f"Method {scorer.method} compares with references alone; --object {name!r} changes no score.")
