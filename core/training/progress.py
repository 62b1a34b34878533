"""What a training says of itself while it runs. Observation cannot change the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step is done.

    phase: what is trained, in words. done, total: steps, over the whole training. loss: of this step.
    remark: something a person should read (an epoch's figures), else empty.
    """

    phase: str
    done: int
    total: int
    loss: float
    remark: str = ""


Observer = Callable[[Step], None]


def unobserved(step: Step) -> None:
    """Tell nobody."""
