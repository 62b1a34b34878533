"""Thinning a bank to a budget: greedy k-centre, the rule of PatchCore (arXiv 2106.08265, section 3.2)."""

from __future__ import annotations

import torch

PROJECTED_DIMENSIONS = 128
"""Distances between tokens survive a random projection (Johnson-Lindenstrauss), and 128 dimensions are quick.

Fewer cost accuracy: 64 lowered the AUROC against local defects by 0.02 (docs/notes/0003-streaming-score.md)."""


def k_centre(tokens: torch.Tensor, budget: int | None) -> torch.Tensor:
    """Pick tokens that leave no token far from a picked one.

    tokens: (M, C) unit length. Returns sorted indices (min(budget, M),) int64; all of them for None.
    Deterministic: starts at the token nearest the mean, projects with a fixed seed.
    """
    count = tokens.shape[0]
    if budget is None or budget >= count:
        return torch.arange(count)
    points = _project(tokens.float().cpu())
    picked = torch.empty(budget, dtype=torch.int64)
    picked[0] = (points - points.mean(dim=0)).square().sum(dim=1).argmin()
    norms = points.square().sum(dim=1)
    nearest = torch.full((count,), float("inf"))
    for index in range(1, budget):
        last = points[picked[index - 1]]
        torch.minimum(nearest, norms - 2.0 * (points @ last) + last.dot(last), out=nearest)
        picked[index] = nearest.argmax()
    return picked.sort().values


def _project(tokens: torch.Tensor) -> torch.Tensor:
    if tokens.shape[1] <= PROJECTED_DIMENSIONS:
        return tokens
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(tokens.shape[1], PROJECTED_DIMENSIONS, generator=generator)
    return torch.matmul(tokens, projection / PROJECTED_DIMENSIONS**0.5)
