"""PatchCore (arXiv 2106.08265): distance to the nearest patch of a thinned bank of good patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from core.baselines import FittedBaseline, Judgement, check_some
from core.baselines.grids import SMOOTHING, finest_grid, middle_stages, on_one_grid, to_pixels
from core.coreset import k_centre
from core.features import Features

NEIGHBOURHOOD = 3
"""Side of the square of patches averaged into one (section 3.1, p = 3)."""

BLOCK_ROWS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCore:
    """Settings. size: pixels a side of the map. share: of the good patches that the coreset keeps (0, 1].

    neighbours: b of equation 7. sigma: of the smoothing, in pixels.

    Patches come from the two middle stages of the encoder. Where the paper pools each stage to 1024 channels, the
    channels are kept as they are.
    """

    name: ClassVar[str] = "patchcore"
    size: int
    share: float = 0.1
    neighbours: int = 9
    sigma: float = SMOOTHING

    def fit(self, good: Features) -> FittedPatchCore:
        """Section 3.2: every patch of every good picture, thinned by greedy k-centre."""
        check_some(good, self.name)
        patches = _patches(good).flatten(0, 1)
        budget = max(1, round(self.share * patches.shape[0]))
        kept = k_centre(patches, budget).to(patches.device)
        return FittedPatchCore(settings=self, bank=patches[kept])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedPatchCore(FittedBaseline[Features]):
    """bank: (M, C) float32 good patches."""

    settings: PatchCore
    bank: torch.Tensor

    def judge(self, features: Features) -> Judgement:
        """The map is each patch's distance to the bank (section 3.3); the score the hottest one's, re-weighted."""
        patches = _patches(features)
        count, length, _ = patches.shape
        distances, nearest = (
            found.view(count, length) for found in nearest_patch(patches.flatten(0, 1), self.bank)
        )
        hottest = distances.argmax(dim=1)
        rows = torch.arange(count, device=hottest.device)
        scores = reweighted(
            patches[rows, hottest], nearest[rows, hottest], bank=self.bank, neighbours=self.settings.neighbours
        )
        grid = finest_grid(features, middle_stages(len(features.grids)))
        maps = to_pixels(distances.view(count, *grid), self.settings.size, self.settings.sigma)
        return Judgement(maps=maps, scores=scores)


def nearest_patch(patches: torch.Tensor, bank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean distance to the nearest bank patch and its row.

    patches: (Q, C), bank: (M, C). Returns (Q,) float32 and (Q,) int64. The expanded square finds the row; the
    distance is then taken from the difference itself, so that a patch of the bank is at exactly 0.
    """
    norms = bank.square().sum(dim=1)
    blocks = [(norms - 2.0 * rows @ bank.T).argmin(dim=1) for rows in torch.split(patches, BLOCK_ROWS)]
    nearest = torch.cat(blocks)
    return torch.linalg.vector_norm(patches - bank[nearest], dim=1), nearest


def reweighted(
    patches: torch.Tensor, nearest: torch.Tensor, *, bank: torch.Tensor, neighbours: int
) -> torch.Tensor:
    """Image scores (N,) of the N hottest patches (N, C), one a picture (equation 7).

    The distance s to the nearest bank patch m counts less where m is itself remote from the patches around it in
    the bank: `s (1 - exp(s) / sum over the b bank patches nearest to m of exp(their distance))`, m being one of
    the b. A bank of one patch has nothing to weigh by: s itself.
    """
    distance: torch.Tensor = torch.linalg.vector_norm(patches - bank[nearest], dim=1)
    around = min(neighbours, bank.shape[0])
    if around == 1:
        return distance
    support = bank[torch.cdist(bank[nearest], bank).topk(around, largest=False).indices]
    spread = torch.linalg.vector_norm(patches[:, None] - support, dim=2)
    weight = 1.0 - torch.exp(distance - spread.logsumexp(dim=1))
    return distance * weight.clamp_min(0.0)


def _patches(features: Features) -> torch.Tensor:
    """(N, L, C) locally aware patches of section 3.1."""
    return on_one_grid(features, middle_stages(len(features.grids)), neighbourhood=NEIGHBOURHOOD)
