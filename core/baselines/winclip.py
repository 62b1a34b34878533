"""WinCLIP and WinCLIP+ (arXiv 2303.14814): windows against the text, and against the references' windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from core.anomaly_map import upsample
from core.baselines import FittedBaseline, Judgement, check_some
from core.baselines.windows import WindowFeatures, window_members
from core.neighbours import nearest_distance

LOGIT_SCALE = 100.0
"""1 / tau. CLIP starts training at tau = 0.07 and ends at its cap, 0.01, which released models carry."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WinClip:
    """Settings. size: pixels a side of the map. text: (2, E) unit text features of the product, normal first."""

    name: ClassVar[str] = "winclip"
    size: int
    text: torch.Tensor

    def __post_init__(self) -> None:
        if self.text.ndim != 2 or self.text.shape[0] != 2:
            raise ValueError(f"expected text features (2, E), normal first, got {tuple(self.text.shape)}")

    def zero_shot(self) -> FittedWinClip:
        """WinCLIP: the text alone."""
        return FittedWinClip(settings=self, references=None)

    def fit(self, good: WindowFeatures) -> FittedWinClip:
        """WinCLIP+: the text and the references."""
        check_some(good, self.name)
        return FittedWinClip(settings=self, references=good)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedWinClip(FittedBaseline[WindowFeatures]):
    """references: the good pictures, None for zero-shot."""

    settings: WinClip
    references: WindowFeatures | None

    def judge(self, features: WindowFeatures) -> Judgement:
        """Zero-shot, both map and score are probabilities in [0, 1]: the score is the image embedding's, the map
        that of section 4.2. References halve both and add half of the association map, or of its maximum."""
        scores = abnormal_probability(features.image, self.settings.text)
        grids = language_map(features, self.settings.text)
        if self.references is not None:
            associated = association_map(features, self.references)
            grids = 0.5 * (grids + associated)
            scores = 0.5 * (scores + associated.amax(dim=(1, 2)))
        return Judgement(maps=upsample(grids, self.settings.size), scores=scores)


def language_map(features: WindowFeatures, text: torch.Tensor) -> torch.Tensor:
    """(N, h, w): the harmonic mean over the scales, the whole picture being one (section 4.2)."""
    whole = abnormal_probability(features.image, text)[:, None, None].expand(-1, *features.grid)
    probabilities = [abnormal_probability(windows, text) for windows in features.windows]
    return harmonic_mean(torch.stack([whole, *_spread_all(probabilities, features)]))


def association_map(features: WindowFeatures, references: WindowFeatures) -> torch.Tensor:
    """(N, h, w): the plain mean over patches and windows of their distance to the references' (section 4.3)."""
    distances = [_associate(*pair) for pair in zip(features.windows, references.windows, strict=True)]
    patches = _associate(features.patches, references.patches).view(-1, *features.grid)
    return torch.stack([patches, *_spread_all(distances, features)]).mean(dim=0)


def abnormal_probability(embeddings: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """(..., E) unit embeddings to (...) probabilities that the text's abnormal row fits better (section 4.1)."""
    logits = LOGIT_SCALE * embeddings @ text.to(embeddings).T
    return logits.softmax(dim=-1)[..., 1]


def spread(window_scores: torch.Tensor, members: torch.Tensor, patches: int) -> torch.Tensor:
    """(N, W) scores of windows to (N, patches): the harmonic mean over a patch's windows (section 4.2).

    members: (W, K) int64 patches of each window, every patch in at least one. The harmonic mean leans to the
    small: one window that looks normal speaks for its patches.
    """
    inverse = window_scores.reciprocal()[:, :, None].expand(-1, -1, members.shape[1]).flatten(1)
    places = members.flatten()
    total = inverse.new_zeros(inverse.shape[0], patches).index_add_(1, places, inverse)
    return torch.bincount(places, minlength=patches) / total


def harmonic_mean(scores: torch.Tensor) -> torch.Tensor:
    """Over the first axis; 0 where any is 0."""
    return scores.shape[0] / scores.reciprocal().sum(dim=0)


def _spread_all(scores: Sequence[torch.Tensor], features: WindowFeatures) -> list[torch.Tensor]:
    """Per side an (N, W) to an (N, h, w)."""
    grid = features.grid
    return [
        spread(windows, window_members(grid, side).to(windows.device), grid[0] * grid[1]).view(-1, *grid)
        for windows, side in zip(scores, features.sides, strict=True)
    ]


def _associate(seen: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """(N, L, C) unit vectors to (N, L): `(1 - max cos) / 2` over all the references' (R, L, C) (section 4.3)."""
    return nearest_distance(seen.flatten(0, 1), references.flatten(0, 1)).view(seen.shape[:2])
