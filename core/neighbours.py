"""Exact nearest neighbour of every token in a bank, without the whole tokens x bank matrix in memory.

Pictures of several products are matched in one call, each with its own bank. On a CPU and in float64 this is a
blocked matrix product with a running maximum; on a GPU the same in one kernel (core.nearest_kernel), which this
file's `blocked_cosines` is the plain form of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

BLOCK_ROWS = 512
"""Of tokens and of bank: the block of cosines, 1 MiB in float32, stays in a core's second cache.

Larger ones are no quicker and come from memory again (docs/notes/0009-engine.md)."""


def matched_dtype(device: torch.device) -> torch.dtype:
    """What a bank's tokens are held in for matching: float16 on a GPU, as in its file and on the tensor cores."""
    return torch.float16 if device.type == "cuda" else torch.float32


def nearest_distance(tokens: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Bounded cosine distance to the nearest bank token.

    tokens: (Q, C), bank: (M, C), M >= 1, both unit length and on one device, of one dtype on a CPU.
    Returns (Q,) in [0, 1], float32 (float64 of float64): `min over bank of (1 - cos) / 2` (method.md, the
    streaming score).
    """
    return nearest_distances(tokens[None], [bank])[0]


def nearest_distances(tokens: torch.Tensor, banks: Sequence[torch.Tensor]) -> torch.Tensor:
    """The same for N pictures at once: tokens (N, L, C), banks: one (M_n, C) a picture, often the same. (N, L)."""
    if len(banks) != tokens.shape[0]:
        raise ValueError(f"expected one bank a picture, got {len(banks)} banks for {tokens.shape[0]} pictures")
    if tokens.is_cuda and tokens.dtype != torch.float64:
        from core.nearest_kernel import tiled_cosines  # triton belongs to torch's CUDA build alone

        cosines = tiled_cosines(tokens, banks)
    else:
        cosines = blocked_cosines(tokens, banks)
    return cosines.neg_().add_(1.0).mul_(0.5).clamp_(0.0, 1.0)


def blocked_cosines(tokens: torch.Tensor, banks: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, L, C) and N banks (M_n, C) to the (N, L) largest products, float32 (float64 of float64), NaN kept."""
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    largest = torch.empty(tokens.shape[:2], dtype=dtype, device=tokens.device)
    for bank in {id(bank): bank for bank in banks}.values():
        rows = [row for row, its in enumerate(banks) if its is bank]
        if len(rows) == len(banks):
            return _largest_products(tokens.flatten(0, 1), bank, dtype).view(tokens.shape[:2])
        largest[rows] = _largest_products(tokens[rows].flatten(0, 1), bank, dtype).view(len(rows), -1)
    return largest


def _largest_products(tokens: torch.Tensor, bank: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    largest = torch.full((tokens.shape[0],), -torch.inf, dtype=dtype, device=tokens.device)
    block = tokens.new_empty(min(BLOCK_ROWS, tokens.shape[0]) * min(BLOCK_ROWS, bank.shape[0]))
    for some, best in zip(torch.split(tokens, BLOCK_ROWS), torch.split(largest, BLOCK_ROWS), strict=True):
        for rows in torch.split(bank, BLOCK_ROWS):
            shape = (some.shape[0], rows.shape[0])
            products = torch.mm(some, rows.T, out=block[: shape[0] * shape[1]].view(shape))
            torch.maximum(best, products.amax(dim=1).to(dtype), out=best)
    return largest
