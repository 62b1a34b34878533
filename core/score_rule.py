"""The streaming image score: a fixed rule whose constants come from the product's own good samples.

A small hole shows in the places that lie farthest from the bank, a wrong shade in the picture as a whole, and
no single statistic serves both (docs/notes/0003-streaming-score.md). So each statistic is standardised by the
enrolment's leave-one-out values and the largest wins. A frame's score never depends on another frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

STATISTICS = ("max", "top1", "mean", "pool")
TOP_FRACTION = 0.01
FLOOR_BELOW = 4
RELATIVE_FLOOR = 0.05
"""Fewer than four samples can agree by luck: then the spread is at least this fraction of the centre. With
four or more the floor costs accuracy (measured, same note)."""


def stage_statistics(grids: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    """One stage's numbers of N pictures.

    grids: (N, h, w) distances to the bank. pooled: (N,) distances of the pictures' descriptors.
    Returns (N, 4): largest, mean of the top 1 % (at least one place), mean, pooled.
    """
    places = grids.flatten(1).float()
    top = places.topk(max(1, round(places.shape[1] * TOP_FRACTION)), dim=1).values
    return torch.stack((places.amax(dim=1), top.mean(dim=1), places.mean(dim=1), pooled.float()), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """`max_k (x_k - centre_k) / spread_k` over the chosen statistics.

    statistics: names "STAGE.STATISTIC", as "4.top1". centre, spread: one a statistic, from good samples.
    """

    statistics: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, statistics: Sequence[str], good: npt.NDArray[np.float64]) -> ScoreRule:
        """Standardise by good samples' statistics, (n, K) in the order of `statistics`, n >= 2."""
        centre = good.mean(axis=0)
        spread = good.std(axis=0, ddof=1)
        if len(good) < FLOOR_BELOW:
            spread = np.maximum(spread, RELATIVE_FLOOR * np.abs(centre))
        return cls(
            statistics=tuple(statistics),
            centre=tuple(float(value) for value in centre),
            spread=tuple(float(value) for value in np.maximum(spread, 1e-9)),
        )

    def score(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(N, K) statistics to (N,) scores; NaN stays NaN, so that the decision can refuse it."""
        standardised = (values - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(standardised.max(axis=1))


def select(statistics: Sequence[str], by_stage: dict[int, torch.Tensor]) -> npt.NDArray[np.float64]:
    """Pick named columns: stage -> (N, 4) of `stage_statistics`, to (N, K) float64."""
    columns = []
    for name in statistics:
        stage, statistic = name.split(".")
        columns.append(by_stage[int(stage)][:, STATISTICS.index(statistic)].double().cpu().numpy())
    return np.stack(columns, axis=1)


def default_statistics(stages: Sequence[int]) -> tuple[str, ...]:
    """For an encoder that nobody has measured: the worst places of every stage, and the picture as a whole."""
    return (*(f"{stage}.top1" for stage in stages), f"{stages[-1]}.pool")
