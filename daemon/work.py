"""What moves between the worker's threads: frames that wait, and their answers. Frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from core.decide import Thresholds
from core.image import Image
from daemon.link import BatchReport, FrameHeader, ScoredFrame

__all__ = [
    "Answer",
    "Answers",
    "Heat",
    "Image",
    "LineBank",
    "Map",
    "PreparedBank",
    "QueuedFrame",
    "Result",
    "Scorer",
]

Map: TypeAlias = npt.NDArray[np.float32]
"""(S, S) float32, S the encoder's image size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueuedFrame:
    """A decoded frame in the batch queue. payload: the camera's bytes, kept for a quarantine."""

    header: FrameHeader
    image: Image
    payload: memoryview
    queued_ns: int
    decode_s: float = 0.0

    @property
    def line(self) -> int:
        """For the batching policy."""
        return self.header.line

    @property
    def deadline_ns(self) -> int:
        """For the batching policy."""
        return self.header.deadline_ns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heat:
    """What the finisher needs to draw a heatmap. scale: the bank's (cold, hot) map values."""

    line: int
    image: Image
    map: Map
    scale: tuple[float, float]
    deadline_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """One frame's answer on its way to the finisher.

    heat: where a heatmap may be written first. frame: the pixels behind the answer, where there are any.
    """

    scored: ScoredFrame
    heat: Heat | None = None
    frame: QueuedFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Answers that leave together, with the report of their batch where they had one."""

    answers: tuple[Answer, ...]
    report: BatchReport | None = None


class PreparedBank(Protocol):
    """A bank on the scorer's device (core.PreparedBank), as far as the worker looks into it."""

    @property
    def bank(self) -> Any: ...

    @property
    def size_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LineBank:
    """What a line scores with: one (bank, thresholds) pair, a row of `lines` at one revision."""

    line: int
    product: str
    bank_sha256: str
    revision: int
    thresholds: Thresholds
    prepared: PreparedBank


class Result(Protocol):
    """One picture's score (core.AnomalyResult)."""

    @property
    def score(self) -> float: ...

    @property
    def map(self) -> Map | None: ...


class Scorer(Protocol):
    """What the worker needs of core.Scorer; tests hand in a small one of numpy."""

    @property
    def adapter_sha256(self) -> str | None: ...

    def prepare(self, bank: Any) -> Any: ...

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> Any: ...

    def match(
        self, features: Any, banks: Sequence[Any], *, want_map: Callable[[int, float], bool]
    ) -> Sequence[Result]: ...
