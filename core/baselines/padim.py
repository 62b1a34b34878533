"""PaDiM (arXiv 2011.08785): a Gaussian of good patches at every location, and the Mahalanobis distance to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from core.baselines import FittedBaseline, Judgement, check_some
from core.baselines.grids import SMOOTHING, finest_grid, on_one_grid, to_pixels
from core.features import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class PaDiM:
    """Settings. size: pixels a side of the map. dimensions: d, channels drawn at random from all stages together
    (section 3.1; all of them where there are fewer). seed: of that draw. sigma: of the smoothing, in pixels.

    shrinkage: epsilon, added to the diagonal of every covariance (section 3.2). It is what makes few shots
    possible at all: n pictures span at most n - 1 of the d directions, and in the others it is the whole
    variance, so that a deviation there counts 1/sqrt(epsilon) = 10 times its length. From one picture the map is
    10 times the Euclidean distance to that picture at the same location.
    """

    name: ClassVar[str] = "padim"
    size: int
    dimensions: int = 100
    shrinkage: float = 0.01
    seed: int = 0
    sigma: float = SMOOTHING

    def fit(self, good: Features) -> FittedPaDiM:
        """Mean and covariance per location, over the good pictures."""
        check_some(good, self.name)
        embeddings = _embeddings(good)
        channels = self._draw(embeddings.shape[2]).to(embeddings.device)
        kept = embeddings[:, :, channels]
        mean = kept.mean(dim=0)
        covariance = shrunk_covariance(kept - mean, self.shrinkage)
        return FittedPaDiM(settings=self, channels=channels, mean=mean, factor=torch.linalg.cholesky(covariance))

    def _draw(self, channels: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(channels, generator=generator)[: self.dimensions].sort().values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedPaDiM(FittedBaseline[Features]):
    """channels: (d,) int64. mean: (L, d) float32. factor: (L, d, d) float32, lower Cholesky factors of the
    covariances."""

    settings: PaDiM
    channels: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor

    def judge(self, features: Features) -> Judgement:
        """The map is the Mahalanobis distance at each location (section 3.3); the score is its maximum."""
        deviation = _embeddings(features)[:, :, self.channels] - self.mean
        grid = finest_grid(features, range(len(features.grids)))
        distances = mahalanobis(deviation, self.factor).view(-1, *grid)
        maps = to_pixels(distances, self.settings.size, self.settings.sigma)
        return Judgement(maps=maps, scores=maps.amax(dim=(1, 2)))


def shrunk_covariance(centred: torch.Tensor, shrinkage: float) -> torch.Tensor:
    """(N, L, d), mean 0 over N, to (L, d, d): the sample covariance with shrinkage on its diagonal.

    One picture has no sample covariance; its covariance is the shrinkage alone.
    """
    covariance = torch.einsum("nli,nlj->lij", centred, centred) / max(centred.shape[0] - 1, 1)
    covariance.diagonal(dim1=1, dim2=2).add_(shrinkage)
    return covariance


def mahalanobis(deviation: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """(N, L, d) deviations and (L, d, d) lower Cholesky factors to (N, L): the length of `factor^-1 deviation`."""
    whitened = torch.linalg.solve_triangular(factor, deviation.permute(1, 2, 0), upper=False)
    distances: torch.Tensor = torch.linalg.vector_norm(whitened, dim=1).T
    return distances


def _embeddings(features: Features) -> torch.Tensor:
    """(N, L, C): all stages, each patch beside the coarser ones that cover it (section 3.1)."""
    return on_one_grid(features, range(len(features.grids)), mode="nearest")
