"""One batch in, one outcome a frame out, whatever breaks on the way.

A batch that raises is scored again frame by frame, once: only the frame that raises alone fails, and its
bytes go to the quarantine. A batch that does not fit in memory is halved until it does, and grows back
later. Only an accelerator that is lost for good ends the worker.

Knows no sockets, threads or torch: the library's errors are told apart by their names.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from core.decide import decide
from daemon.clock import Clock
from daemon.flow import UninspectedReason
from daemon.work import LineBank, QueuedFrame, Result, Scorer

log = logging.getLogger(__name__)

REGROW_AFTER = 64
"""Batches without a memory error before a halved limit doubles again."""


class AcceleratorLost(Exception):
    """The device gives nothing but errors from here on: this process cannot go on, its successor may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one frame has no score."""

    reason: UninspectedReason
    detail: str


@dataclass(slots=True)
class Tally:
    """What one batch cost. seconds: stage name -> duration. retries: reason -> count."""

    seconds: dict[str, float] = field(default_factory=lambda: {"encode": 0.0, "match": 0.0})
    retries: Counter[str] = field(default_factory=Counter)


Job: TypeAlias = tuple[QueuedFrame, LineBank]
Outcome: TypeAlias = Result | Failure


class BatchScoring:
    """Scores batches and remembers how large they may be.

    keep_heatmaps: the decisions whose maps are wanted; may be replaced at any time. quarantine: takes a frame that
    broke the scorer, and the error.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        max_size: int,
        keep_heatmaps: frozenset[str],
        quarantine: Callable[[QueuedFrame, str], None],
        clock: Clock,
    ) -> None:
        self._scorer = scorer
        self._max_size = max_size
        self.keep_heatmaps = keep_heatmaps
        self._quarantine = quarantine
        self._clock = clock
        self._limit = max_size
        self._calm = 0

    @property
    def limit(self) -> int:
        """Frames that are scored in one go; below `max_size` after a memory error."""
        return self._limit

    def score(self, jobs: Sequence[Job], tally: Tally) -> list[Outcome]:
        """Score every frame against its line's bank, in order. Raises AcceleratorLost."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(jobs):
            outcomes += self._score_part(jobs[len(outcomes) :][: self._limit], tally)
        self._regrow(tally)
        return outcomes

    def _score_part(self, jobs: Sequence[Job], tally: Tally) -> list[Outcome]:
        try:
            return self._attempt(jobs, tally)
        except Exception as error:  # noqa: BLE001  whatever a model raises may spoil no other frame
            _end_if_lost(error)
            if is_out_of_memory(error) and len(jobs) > 1:
                return self._halve(jobs, tally)
            log.warning("a batch of %d raised %s; scoring frame by frame", len(jobs), _short(error))
            tally.retries["error"] += 1
            return [self._score_alone(job, tally) for job in jobs]

    def _score_alone(self, job: Job, tally: Tally) -> Outcome:
        try:
            return self._attempt([job], tally)[0]
        except Exception as error:  # noqa: BLE001  as above: the guilty frame is found here
            _end_if_lost(error)
            log.error("frame %s breaks the scorer: %s", job[0].header.key, _short(error))
            self._quarantine(job[0], _short(error))
            return Failure(reason=UninspectedReason.MODEL_ERROR, detail=_short(error))

    def _attempt(self, jobs: Sequence[Job], tally: Tally) -> list[Outcome]:
        banks = [bank.prepared for _, bank in jobs]
        with self._timed("encode", tally):
            features = self._scorer.encode([frame.image for frame, _ in jobs], banks)
        with self._timed("match", tally):
            results = self._scorer.match(
                features,
                banks,
                want_map=lambda index, score: decide(score, jobs[index][1].thresholds) in self.keep_heatmaps,
            )
        return [_checked(result) for _, result in zip(jobs, results, strict=True)]

    def _halve(self, jobs: Sequence[Job], tally: Tally) -> list[Outcome]:
        self._limit, self._calm = len(jobs) // 2, 0
        tally.retries["oom"] += 1
        log.warning("a batch of %d does not fit in memory; going on with %d", len(jobs), self._limit)
        middle = len(jobs) // 2
        return self._score_part(jobs[:middle], tally) + self._score_part(jobs[middle:], tally)

    def _regrow(self, tally: Tally) -> None:
        self._calm = 0 if tally.retries["oom"] else self._calm + 1
        if self._limit < self._max_size and self._calm >= REGROW_AFTER:
            self._limit, self._calm = min(self._max_size, self._limit * 2), 0

    @contextmanager
    def _timed(self, stage: str, tally: Tally) -> Iterator[None]:
        start_ns = self._clock.monotonic_ns()
        try:
            yield
        finally:
            tally.seconds[stage] += (self._clock.monotonic_ns() - start_ns) / 1e9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether host or device memory ran out (torch.OutOfMemoryError, by name)."""
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return isinstance(error, MemoryError) or named or "can't allocate memory" in str(error)


def _end_if_lost(error: Exception) -> None:
    """A sticky CUDA error: every later call in this process would raise it again."""
    named = any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__)
    if (named or "CUDA error" in str(error)) and not is_out_of_memory(error):
        raise AcceleratorLost(_short(error)) from error


def _checked(result: Result) -> Outcome:
    if math.isfinite(result.score):
        return result
    return Failure(reason=UninspectedReason.NOT_FINITE, detail=f"the score is {result.score}")


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
