"""One bank against another on parts that a line has seen: what each would decide, and what a swap would change.

Pure but for reading the kept pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import core
from core.decide import Decision, Thresholds, decide
from core.errors import ImageError
from core.image import Image
from daemon.feedback import Label
from daemon.flow import Verdict
from daemon.known_defects import Score

KNOWN_GOOD = "good, as a person said"
KNOWN_DEFECT = "defective, as a person said"
PASSED = "accepted, nobody said anything"
STOPPED = "rejected or reviewed, nobody said anything"
AT_ONCE = 8
GROUPS = (KNOWN_GOOD, KNOWN_DEFECT, PASSED, STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPart:
    """A part whose picture was kept. label: what a person said of it, if anything."""

    key: str
    picture: Path
    decision: Decision
    label: Label | None

    @property
    def group(self) -> str:
        """Whom it speaks for."""
        if self.label is not None:
            return KNOWN_GOOD if self.label is Label.GOOD else KNOWN_DEFECT
        return PASSED if self.decision is Decision.ACCEPT else STOPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What two banks decide of one part."""

    key: str
    group: str
    before: Decision
    after: Decision


def seen_parts(state: Path, verdicts: Sequence[Verdict], labels: Mapping[str, Label]) -> list[SeenPart]:
    """The parts whose picture is still there; the others can say nothing here."""
    return [
        SeenPart(
            key=verdict.key,
            picture=state / verdict.frame,
            decision=verdict.decision,
            label=labels.get(verdict.key),
        )
        for verdict in verdicts
        if verdict.frame is not None and (state / verdict.frame).is_file()
    ]


def compare(
    parts: Sequence[SeenPart], before: tuple[Score, Thresholds], after: tuple[Score, Thresholds]
) -> list[Outcome]:
    """Score every part against both banks, each with its own thresholds. Reads a few pictures at a time.

    A picture that cannot be read any more is left out.
    """
    outcomes = []
    for start in range(0, len(parts), AT_ONCE):
        read = [(part, _read(part.picture, part.key)) for part in parts[start : start + AT_ONCE]]
        images = [image for _, image in read if image is not None]
        decided = [[decide(value, thresholds) for value in score(images)] for score, thresholds in (before, after)]
        readable = [part for part, image in read if image is not None]
        outcomes += [
            Outcome(key=part.key, group=part.group, before=old, after=new)
            for part, old, new in zip(readable, *decided, strict=True)
        ]
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row a group that has parts: how many, how many are stopped before and after, what changes.

    Stopped: rejected or reviewed. changes: keys whose decision is another one afterwards.
    """
    counts = Counter(outcome.group for outcome in outcomes)
    return [
        {
            "group": group,
            "parts": counts[group],
            "stopped_before": _stopped(each.before for each in outcomes if each.group == group),
            "stopped_after": _stopped(each.after for each in outcomes if each.group == group),
            "changes": [each.key for each in outcomes if each.group == group and each.before is not each.after],
        }
        for group in GROUPS
        if counts[group]
    ]


def _stopped(decisions: Iterable[Decision]) -> int:
    return sum(1 for decision in decisions if decision is not Decision.ACCEPT)


def _read(path: Path, name: str) -> Image | None:
    try:
        return core.Sample.from_bytes(name, path.read_bytes()).image
    except (OSError, ImageError):
        return None
