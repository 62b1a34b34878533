"""The largest cosine of every token in its picture's bank, on a GPU: one Triton kernel for a whole batch.

A program owns a tile of one picture's tokens and a part of that picture's bank, walks the part tile by tile on the
tensor cores and keeps the running maximum, so that no tokens x bank matrix exists anywhere. Pictures find their
banks through a table of addresses: twenty products in a batch cost one launch, as one does.

The plain form it is tested against is `core.neighbours.blocked_cosines`. Needs triton, which torch's CUDA build
brings; nothing here runs on a CPU but under `TRITON_INTERPRET=1`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

TOKENS = 128
"""Tokens a program holds: with as many bank rows, the tile whose accumulator fits the registers of 8 warps."""
ROWS = 128
CHANNELS = 64
WARPS = 8
STAGES = 3
WAVES = 4
"""Programs a multiprocessor gets before a bank is split no further: one frame alone must fill the GPU too."""


@triton.jit  # type: ignore[untyped-decorator]
def _largest_products(  # type: ignore[no-untyped-def]
    tokens,
    banks,
    bank_rows,
    largest,
    length,
    parts,
    CHANNELS_IN_ALL: tl.constexpr,
    TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Program (tile, part, picture). tokens (N, L, C), banks (N,) addresses of (M_n, C), largest (N, parts, L)."""
    tile, part, picture = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    places = tile * TOKENS + tl.arange(0, TOKENS)
    mine = places < length
    # Past the end of a 2-GiB batch 32 bits would wrap.
    first = tokens + picture.to(tl.int64) * length * CHANNELS_IN_ALL + places[:, None] * CHANNELS_IN_ALL
    bank = tl.multiple_of(tl.load(banks + picture).to(tokens.dtype), 16)
    rows_in_all = tl.load(bank_rows + picture)
    each = tl.cdiv(tl.cdiv(rows_in_all, parts), ROWS) * ROWS
    end = tl.minimum((part + 1) * each, rows_in_all)
    best = tl.full((TOKENS,), float("-inf"), tl.float32)
    for start in range(part * each, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        products = tl.zeros((TOKENS, ROWS), tl.float32)
        for channel in range(0, CHANNELS_IN_ALL, CHANNELS):
            channels = channel + tl.arange(0, CHANNELS)
            real = channels < CHANNELS_IN_ALL
            some = tl.load(first + channels[None, :], mask=mine[:, None] & real[None, :], other=0.0)
            others = tl.load(
                bank + rows[None, :] * CHANNELS_IN_ALL + channels[:, None],
                mask=(rows < end)[None, :] & real[:, None],
                other=0.0,
            )
            products = tl.dot(some, others, products, input_precision="ieee")
        products = tl.where((rows < end)[None, :], products, float("-inf"))
        best = tl.maximum(best, tl.max(products, axis=1))
    tl.store(largest + (picture * parts + part) * length + places, best, mask=mine)


def tiled_cosines(tokens: torch.Tensor, banks: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, L, C) unit tokens and N banks (M_n, C), M_n >= 1, to the (N, L) float32 largest products.

    The banks' dtype is the arithmetic's: float16 runs on the tensor cores (products and sums are float32, only the
    tokens are rounded: below 1e-4 of distance), float32 in full precision. NaN tokens give NaN.

    Raises ValueError for banks of another width or of several dtypes.
    """
    dtype = _only_dtype(banks, tokens.shape[2])
    tokens = tokens.to(dtype).contiguous()
    held = [bank.contiguous() for bank in banks]  # alive until the kernel has been queued
    count, length, channels = tokens.shape
    tiles = triton.cdiv(length, TOKENS)
    parts = _parts(tiles * count, max(bank.shape[0] for bank in held), tokens.device)
    largest = torch.empty(count, parts, length, dtype=torch.float32, device=tokens.device)
    # Triton launches on the thread's device; on a CPU this does nothing.
    with torch.cuda.device_of(tokens):  # type: ignore[no-untyped-call]
        _largest_products[(tiles, parts, count)](
            tokens,
            torch.tensor([bank.data_ptr() for bank in held], dtype=torch.int64, device=tokens.device),
            torch.tensor([bank.shape[0] for bank in held], dtype=torch.int32, device=tokens.device),
            largest,
            length,
            parts,
            CHANNELS_IN_ALL=channels,
            TOKENS=TOKENS,
            ROWS=ROWS,
            CHANNELS=CHANNELS,
            num_warps=WARPS,
            num_stages=STAGES,
        )
    cosines = largest.amax(dim=1)
    # A GPU's maximum passes over NaN; only NaN tokens leave a maximum without any product.
    return torch.where(cosines == -torch.inf, torch.nan, cosines)


def _only_dtype(banks: Sequence[torch.Tensor], channels: int) -> torch.dtype:
    kinds = {(bank.dtype, bank.shape[1]) for bank in banks}
    if len(kinds) != 1 or next(iter(kinds))[1] != channels:
        raise ValueError(f"expected banks of {channels} channels and of one dtype, got {sorted(map(str, kinds))}")
    return next(iter(kinds))[0]


def _parts(tiles: int, rows: int, device: torch.device) -> int:
    """How many programs share a bank: a single frame has 11 tiles and an H100 132 multiprocessors."""
    if device.type != "cuda":
        return min(3, -(-rows // ROWS))
    wanted = WAVES * torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(-(-wanted // tiles), -(-rows // ROWS)))
