"""Exact nearest neighbour of every token in a bank, without the whole tokens x bank matrix in memory."""

from __future__ import annotations

import torch

BLOCK_ROWS = 2048


def nearest_distance(tokens: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Bounded cosine distance to the nearest bank token.

    tokens: (Q, C), bank: (M, C), M >= 1, both unit length, same dtype and device.
    Returns (Q,) in [0, 1], float32 (float64 of float64): `min over bank of (1 - cos) / 2` (method.md, the
    streaming score).
    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    best = torch.full((tokens.shape[0],), -1.0, dtype=dtype, device=tokens.device)
    for start in range(0, bank.shape[0], BLOCK_ROWS):
        rows = bank[start : start + BLOCK_ROWS]
        torch.maximum(best, (tokens @ rows.T).amax(dim=1).to(dtype), out=best)
    return best.neg_().add_(1.0).mul_(0.5).clamp_(0.0, 1.0)
