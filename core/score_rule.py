"""The streaming image score: a fixed rule whose constants come from the product's own good samples.

A small hole shows in the places that lie farthest from the bank, a wrong shade in the picture as a whole, and
no single statistic serves both (docs/notes/0003-streaming-score.md). So each statistic is standardised by the
enrolment's leave-one-out values and the largest wins; what the words say is added with a small fixed weight.
A frame's score never depends on another frame.

Statistics have names: "bank.STAGE.max|top1|mean" of a stage's distances, "bank.STAGE.pool" of the
picture as a whole, "text.logit" of the image embedding, "text.top1" of the zero-shot grids (core.zero_shot).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

TOP_FRACTION = 0.01
TEXT_WEIGHT = 0.1
FLOOR_BELOW = 4
RELATIVE_FLOOR = 0.05
"""Fewer than four samples can agree by luck: then the spread is at least this fraction of the centre. With
four or more the floor costs accuracy (measured, same note)."""

Statistics = Mapping[str, torch.Tensor]
"""Name to (N,) values of N pictures."""


def bank_statistics(stage: int, grids: torch.Tensor, pooled: torch.Tensor) -> dict[str, torch.Tensor]:
    """One stage's numbers of N pictures: distances (N, h, w) or (N, P), pooled (N,) distances of descriptors."""
    places = grids.flatten(1).float()
    return {
        f"bank.{stage}.max": places.amax(dim=1),
        f"bank.{stage}.top1": top_mean(grids),
        f"bank.{stage}.mean": places.mean(dim=1),
        f"bank.{stage}.pool": pooled.float(),
    }


def top_mean(grids: torch.Tensor) -> torch.Tensor:
    """(N, h, w) or (N, P) to (N,): the mean of the largest 1 %, at least one place."""
    places = grids.flatten(1).float()
    return places.topk(max(1, round(places.shape[1] * TOP_FRACTION)), dim=1).values.mean(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """`max_k z_k over bank statistics + text_weight * max_k z_k over text statistics`, z = (x - centre) / spread.

    statistics: which, by name. centre, spread: one a statistic, from good samples.
    """

    statistics: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    text_weight: float = TEXT_WEIGHT

    @classmethod
    def fit(cls, names: Sequence[str], good: Statistics, *, text_weight: float = TEXT_WEIGHT) -> ScoreRule:
        """Standardise by n >= 2 good samples."""
        values = _columns(names, good)
        centre = values.mean(axis=0)
        spread = values.std(axis=0, ddof=1)
        if len(values) < FLOOR_BELOW:
            spread = np.maximum(spread, RELATIVE_FLOOR * np.abs(centre))
        return cls(
            statistics=tuple(names),
            centre=tuple(float(value) for value in centre),
            spread=tuple(float(value) for value in np.maximum(spread, 1e-9)),
            text_weight=text_weight,
        )

    def score(self, statistics: Statistics) -> npt.NDArray[np.float64]:
        """(N,) scores; NaN stays NaN, so that the decision can refuse it."""
        standardised = (_columns(self.statistics, statistics) - np.array(self.centre)) / np.array(self.spread)
        worded = np.array([is_worded(name) for name in self.statistics])
        score = np.zeros(len(standardised))
        if not worded.all():
            score = standardised[:, ~worded].max(axis=1)
        if worded.any():
            # Alone, the words are the whole score; beside a bank they are a hint.
            weight = 1.0 if worded.all() else self.text_weight
            score = score + weight * standardised[:, worded].max(axis=1)
        return np.asarray(score)


def is_worded(statistic: str) -> bool:
    """Whether a statistic comes from the words, not from the bank."""
    return statistic.startswith("text.")


def default_statistics(stages: Sequence[int], *, worded: bool) -> tuple[str, ...]:
    """For an encoder that nobody has measured: the worst places of every stage, and the picture as a whole."""
    places = tuple(f"bank.{stage}.top1" for stage in stages)
    words = ("text.logit", "text.top1") if worded else ()
    return (*places, f"bank.{stages[-1]}.pool", *words)


def _columns(names: Sequence[str], statistics: Statistics) -> npt.NDArray[np.float64]:
    return np.stack([statistics[name].double().cpu().numpy() for name in names], axis=1)
