"""The streaming image score: a fixed rule whose constants come from the product's own good samples.

A stage map says how far each place is from the good samples; a small hole shows in the largest value of a
fine stage, a wrong shade in the mean of a coarse one, and no single statistic serves both
(docs/notes/0003-streaming-score.md). So each statistic is standardised by the enrolment's leave-one-out scores
and the largest wins. A frame's score never depends on another frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

STATISTICS = ("max", "top1", "mean")
TOP_FRACTION = 0.01
RELATIVE_FLOOR = 0.05
"""The spread of few samples can be small by luck; it is never taken below this fraction of the centre."""


def stage_statistics(grids: torch.Tensor) -> torch.Tensor:
    """(N, h, w) distances to (N, 3): the largest, the mean of the top 1 % (at least one place), the mean."""
    places = grids.flatten(1).float()
    top = places.topk(max(1, round(places.shape[1] * TOP_FRACTION)), dim=1).values
    return torch.stack((places.amax(dim=1), top.mean(dim=1), places.mean(dim=1)), dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """`max_k (x_k - centre_k) / spread_k` over the chosen statistics.

    statistics: names "STAGE.STATISTIC", as "4.max". centre, spread: one a statistic, from good samples.
    """

    statistics: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, statistics: Sequence[str], good: npt.NDArray[np.float64]) -> ScoreRule:
        """Standardise by good samples' statistics, (n, K) in the order of `statistics`, n >= 2."""
        centre = good.mean(axis=0)
        spread = np.maximum(good.std(axis=0, ddof=1), RELATIVE_FLOOR * np.abs(centre))
        return cls(
            statistics=tuple(statistics),
            centre=tuple(float(value) for value in centre),
            spread=tuple(float(value) for value in np.maximum(spread, 1e-6)),
        )

    def score(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(N, K) statistics to (N,) scores; NaN stays NaN, so that the decision can refuse it."""
        standardised = (values - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(standardised.max(axis=1))


def select(statistics: Sequence[str], by_stage: dict[int, torch.Tensor]) -> npt.NDArray[np.float64]:
    """Pick named columns: stage -> (N, 3) of `stage_statistics`, to (N, K) float64."""
    columns = []
    for name in statistics:
        stage, statistic = name.split(".")
        columns.append(by_stage[int(stage)][:, STATISTICS.index(statistic)].double().cpu().numpy())
    return np.stack(columns, axis=1)
