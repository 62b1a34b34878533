"""SPADE (arXiv 2005.02357): the nearest good pictures first, then each patch against those pictures' patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from core.anomaly_map import sum_of_stages
from core.bank import descriptors, stage_tokens
from core.baselines import FittedBaseline, Judgement, check_some
from core.baselines.grids import SMOOTHING
from core.features import Features
from core.gaussian_blur import gaussian_blur
from core.neighbours import nearest_distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Spade:
    """Settings. size: pixels a side of the map. nearest: K good pictures a picture is compared with (section 3.2);
    all of them where there are fewer. sigma: of the smoothing, in pixels.

    Distances are `(1 - cos) / 2`, and the stages' maps are averaged; the paper takes Euclidean distances of stages
    laid side by side, where the stage with the longest tokens speaks alone.
    """

    name: ClassVar[str] = "spade"
    size: int
    nearest: int = 50
    sigma: float = SMOOTHING

    def fit(self, good: Features) -> FittedSpade:
        """Keep the good pictures' descriptors and tokens."""
        check_some(good, self.name)
        tokens = _unit_tokens(good)
        return FittedSpade(settings=self, descriptors=descriptors(tokens[-1]), tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedSpade(FittedBaseline[Features]):
    """descriptors: (R, C) unit mean tokens of the last stage. tokens: per stage (R, L_s, C_s), unit length."""

    settings: Spade
    descriptors: torch.Tensor
    tokens: tuple[torch.Tensor, ...]

    def judge(self, features: Features) -> Judgement:
        """The score is the mean distance to the K nearest good pictures (section 3.2); the map is each patch's
        distance to the nearest patch anywhere in those pictures (section 3.3)."""
        stages = _unit_tokens(features)
        distances, nearest = self._nearest_pictures(descriptors(stages[-1]))
        grids = [
            torch.stack(
                [self._correspond(stage, picture, near) for picture, near in zip(tokens, nearest, strict=True)]
            )
            for stage, tokens in enumerate(stages)
        ]
        planes = [grid.view(-1, *shape) for grid, shape in zip(grids, features.grids, strict=True)]
        mean = sum_of_stages(planes, self.settings.size) / len(planes)
        return Judgement(maps=gaussian_blur(mean, self.settings.sigma), scores=distances.mean(dim=1))

    def _nearest_pictures(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C) descriptors to (N, K) distances in [0, 1] and (N, K) rows, nearest first."""
        distances = ((1.0 - seen @ self.descriptors.T) / 2.0).clamp_(0.0, 1.0).float()
        found = distances.topk(min(self.settings.nearest, distances.shape[1]), largest=False)
        return found.values, found.indices

    def _correspond(self, stage: int, tokens: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """(L, C) tokens of one picture to (L,) distances."""
        return nearest_distance(tokens, self.tokens[stage][near].flatten(0, 1))


def _unit_tokens(features: Features) -> tuple[torch.Tensor, ...]:
    return tuple(stage_tokens(stage, grid, 1) for stage, grid in zip(features.stages, features.grids, strict=True))
