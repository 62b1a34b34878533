"""What one check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from daemon.exit_codes import ExitCode

Outcome = Literal["ok", "note", "unavailable", "configuration"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. "note" is worth knowing and fails nothing; the last two name an exit code.

    remedy: what to do, None where there is nothing to do.
    """

    check: str
    outcome: Outcome
    detail: str
    remedy: str | None = None


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """Wrong configuration outweighs a service that is down: it will not come back by itself. Pure."""
    outcomes = {finding.outcome for finding in findings}
    if "configuration" in outcomes:
        return ExitCode.CONFIG
    return ExitCode.UNAVAILABLE if "unavailable" in outcomes else ExitCode.OK
