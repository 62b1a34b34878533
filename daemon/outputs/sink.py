"""What a sink is to the thread that feeds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.flow import Verdict


class SinkUnavailable(Exception):
    """The other end cannot be reached, is slow, or refuses *us*: try again, for as long as it takes."""


class MessageRefused(Exception):
    """The other end works and refuses *this message*: after some attempts it is put aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which verdicts a sink is there for. lines: empty for all."""

    lines: frozenset[int]
    decisions: frozenset[str]

    def has_line(self, verdict: Verdict) -> bool:
        """Whether its line is one of ours."""
        return not self.lines or verdict.line in self.lines

    def has(self, verdict: Verdict) -> bool:
        """Whether its line and its decision are."""
        return self.has_line(verdict) and verdict.decision in self.decisions


class Sink(Protocol):
    """Belongs to one thread, which alone calls it. Constructing it connects to nothing."""

    window: int
    """The most verdicts at a time."""

    def takes(self, verdict: Verdict) -> bool:
        """Whether this verdict is for this sink at all."""
        ...

    def deliver(self, verdicts: Sequence[Verdict]) -> None:
        """Hand them over in order and wait until the other end has them.

        Raises SinkUnavailable, and then they count as undelivered, all of them; MessageRefused where one alone
        was offered.
        """
        ...

    def attend(self, wait_s: float) -> None:
        """There is nothing to deliver: keep the connection, for about so long. Raises SinkUnavailable."""
        ...

    def close(self) -> None:
        """Say goodbye. Never raises for want of a connection."""
        ...
