"""Regression cases: parts that a person called defective, which no later bank or threshold may accept unseen.

Pure but for reading the cases' pictures. `review` counts as found: a person looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import core
from core.decide import Decision, Thresholds, decide
from core.errors import ImageError
from core.image import Image
from daemon.feedback import Feedback

Score = Callable[[Sequence[Image]], Sequence[float]]
"""Scores (H, W, 3) uint8 RGB pictures against one bank."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One known defect with its picture, (H, W, 3) uint8 RGB."""

    key: str
    note: str | None
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How one bank with one pair of thresholds does on the known defects. missed: the keys it would accept."""

    cases: int
    missed: tuple[str, ...]

    @property
    def found(self) -> int:
        """Cases that would be rejected, or shown to a person."""
        return self.cases - len(self.missed)


def read_cases(state: Path, defects: Sequence[Feedback]) -> tuple[list[Case], list[str]]:
    """The cases whose pictures can be read, and the keys of those whose cannot: never silently fewer."""
    cases, unreadable = [], []
    for defect in defects:
        image = _read(state, defect)
        if image is None:
            unreadable.append(defect.key)
        else:
            cases.append(Case(key=defect.key, note=defect.note, image=image))
    return cases, unreadable


def on_trial(cases: Sequence[Case], score: Score, thresholds: Thresholds) -> Trial:
    """Score every case and decide. A score that is not finite is no accept, so it counts as found."""
    scores = score([case.image for case in cases]) if cases else ()
    decided = [decide(value, thresholds) for value in scores]
    missed = [case.key for case, decision in zip(cases, decided, strict=True) if decision is Decision.ACCEPT]
    return Trial(cases=len(cases), missed=tuple(missed))


def _read(state: Path, defect: Feedback) -> Image | None:
    if defect.frame_path is None:
        return None
    try:
        data = (state / defect.frame_path).read_bytes()
        return core.Sample.from_bytes(defect.key, data).image
    except (OSError, ImageError):
        return None
