"""A transformer's blocks as a CPU computes them best in bfloat16: the same arithmetic in another order.

Asked for, the four products of a block are in 8-bit integers instead (core.int8_products), all else as it is.

torch's own path packs every weight anew at each call and writes the attention of all heads to memory before it
is read again. Here weights are packed once, the activation is computed while the product is still in registers,
and as many heads go together as the cache holds scores of (docs/notes/0009-engine.md has the times).

The packed product is the one that torch's own compiler emits for a linear layer. Compiling the tower would bring
it too, at the price of a C++ compiler on the PC and minutes of every start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from core.int8_products import Int8Product

CACHED_SCORES = 1 << 21
"""Attention scores that are computed together: 4 MiB in bfloat16. One head of 1370 tokens, all 12 of 197."""

CACHED_ROWS = 1 << 20
"""Of a single head, scores that are computed together: 2 MiB, what the two cores' second caches hold."""

Product = Callable[[torch.Tensor], torch.Tensor]


def quicken(tower: nn.Module, *, int8: bool = False) -> bool:
    """Put quick blocks in the place of a tower's own, whose parts they go on holding; whether it had such blocks.

    tower: on the CPU, in the precision it will compute in, frozen. Others than open_clip's plain transformers stay
    as they are. int8: see QuickBlock.
    """
    if not has_plain_blocks(tower):
        return False
    blocks: Any = tower.transformer
    for place, block in enumerate(blocks.resblocks):
        blocks.resblocks[place] = QuickBlock(block, int8=int8)
    return True


def has_plain_blocks(tower: nn.Module) -> bool:
    """Whether `quicken` fits this tower."""
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
    return isinstance(blocks, nn.ModuleList) and all(map(_is_plain, blocks))


class QuickBlock(nn.Module):
    """A pre-norm residual block. block: open_clip's, whose modules keep their names here.

    int8: compute the products with the weights in 8-bit integers; attention's own stay as they are.
    """

    def __init__(self, block: Any, *, int8: bool = False) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ls_1 = block.ln_1, block.attn, block.ls_1
        self.ln_2, self.mlp, self.ls_2 = block.ln_2, block.mlp, block.ls_2
        attention, mlp = block.attn, block.mlp
        product: Callable[[torch.Tensor, torch.Tensor], Product] = Int8Product if int8 else _product
        self._qkv = product(attention.in_proj_weight, attention.in_proj_bias)
        self._out = product(attention.out_proj.weight, attention.out_proj.bias)
        self._narrow = product(mlp.c_proj.weight, mlp.c_proj.bias)
        self._activate: Product = mlp.gelu
        if not int8 and _packs(mlp.c_fc.weight) and _is_exact_gelu(mlp.gelu):
            self._widen, self._activate = _product(mlp.c_fc.weight, mlp.c_fc.bias, after="gelu"), nn.Identity()
        else:
            self._widen = product(mlp.c_fc.weight, mlp.c_fc.bias)

    def forward(self, x: torch.Tensor, attn_mask: None = None) -> torch.Tensor:
        """(N, L, W) to the same; an image has no mask."""
        x = x + self.ls_1(self._out(self._attention(self._qkv(self.ln_1(x)))))
        updated: torch.Tensor = x + self.ls_2(self._narrow(self._activate(self._widen(self.ln_2(x)))))
        return updated

    def _attention(self, qkv: torch.Tensor) -> torch.Tensor:
        count, length, _ = qkv.shape
        heads = self.attn.num_heads
        split = qkv.view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = (part.reshape(count * heads, length, -1) for part in split)
        mixed = attention(query, key, value).view(count, heads, length, -1)
        return mixed.transpose(1, 2).reshape(count, length, -1)


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`softmax(q k^T / sqrt d) v` of H heads (H, L, d), as many at a time as CACHED_SCORES allows: (H, L, d)."""
    _, length, width = query.shape
    query = query * width**-0.5
    together = max(1, CACHED_SCORES // length**2)
    if together == 1:  # two dimensions take a quicker product than three with a single head
        rows = max(1, CACHED_ROWS // length)
        parts = [
            torch.softmax(some @ k.T, dim=-1) @ v
            for q, k, v in zip(query, key, value, strict=True)
            for some in torch.split(q, rows)
        ]
        return torch.cat(parts).view(query.shape)
    groups = (torch.split(part, together) for part in (query, key.transpose(1, 2), value))
    return torch.cat([torch.softmax(q @ k, dim=-1) @ v for q, k, v in zip(*groups, strict=True)])


def _product(weight: torch.Tensor, bias: torch.Tensor, *, after: str = "none") -> Product:
    """`x W^T + b`, then `after`; without a packed form plain, and `after` is left to the caller."""
    weight, bias = weight.detach(), bias.detach()
    if not _packs(weight):
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, after, [], "none")


def _packs(weight: torch.Tensor) -> bool:
    """Whether this torch packs such a weight: its oneDNN build, in bfloat16."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    return known and weight.dtype == torch.bfloat16 and weight.device.type == "cpu"


def _is_exact_gelu(activation: nn.Module) -> bool:
    return isinstance(activation, nn.GELU) and activation.approximate == "none"


def _is_plain(block: nn.Module) -> bool:
    """A block of which this file's arithmetic is the block's own: plain attention with biases, batch first."""
    parts = {"ln_1", "attn", "ls_1", "ln_2", "mlp", "ls_2"}
    attn, mlp = getattr(block, "attn", None), getattr(block, "mlp", None)
    return (
        {name for name, _ in block.named_children()} == parts
        and isinstance(attn, nn.MultiheadAttention)
        and attn.batch_first
        and attn.in_proj_bias is not None
        and isinstance(mlp, nn.Sequential)
        and [name for name, _ in mlp.named_children()] == ["c_fc", "gelu", "c_proj"]
    )
