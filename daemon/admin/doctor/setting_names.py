"""Settings that were refused: which name was meant, and where to write it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from daemon.admin.doctor.finding import Finding
from daemon.settings import ConfigurationError, Settings

_UNKNOWN = re.compile(r"(?P<place>[\w.]+): Extra inputs are not permitted")
_UNKNOWN_ENVIRONMENT = re.compile(r"environment APRILGAN_\w+: unknown section '(?P<place>\w+)'")
_NO_SUCH_LINE = re.compile(r"cameras: .* looks at line (?P<line>\d+)")


def explain(error: ConfigurationError) -> list[Finding]:
    """A finding for each problem that the settings have."""
    return [Finding("settings", "configuration", problem, remedy(problem)) for problem in str(error).splitlines()]


def remedy(problem: str) -> str:
    """What to do about one line of a ConfigurationError. Pure."""
    unknown = _UNKNOWN.match(problem) or _UNKNOWN_ENVIRONMENT.match(problem)
    if unknown:
        *section, name = unknown["place"].split(".")
        return _spelling(name, names_in(section))
    no_line = _NO_SUCH_LINE.search(problem)
    if no_line:
        return f"add [[lines]] with id = {no_line['line']}, or name one of the configured lines at the camera"
    if "cannot read the configuration" in problem:
        return "run it as the service's user: sudo aprilgan-admin doctor; or name the file with --config"
    return "mend it in the configuration (its comments tell every default), then run doctor again"


def names_in(section: Sequence[str]) -> list[str]:
    """The settings' names in a section, () the top; "0" is an entry of a list. Empty for an unknown one."""
    model: Any = Settings
    for part in section:
        if part.isdigit():
            continue
        field = model.model_fields.get(part)
        model = None if field is None else _section_of(field.annotation)
        if model is None:
            return []
    return list(model.model_fields)


def _section_of(annotation: Any) -> Any:
    """The section's class in `Section`, `tuple[Section, ...]` or `dict[str, Section]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


def _spelling(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known names there: {', '.join(known)}" if known else "take it out"
