"""CLIP-AD's two ways through one frozen image tower, walked beside it (method.md section 2).

The original path is the tower's own. The surgery path gathers, from the same inputs, what each block's attention
would add if its values were also its queries and keys: patches then stay with patches like themselves. The
tower's modules are called and read, never patched, hooked, copied or written to, so everyone who shares the tower
goes on getting the same bits from it.

This file knows the names inside open_clip's VisionTransformer, not the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from core.errors import EncoderError

QUARTERS = 4
"""The surgery path starts anew in each quarter of the tower."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DualPath:
    """Both paths of N pictures with L = h * w patches, one tensor a stage.

    original: (N, 1 + L, W) ordinary residual stream after the stage's block, class token first, the tower's dtype.
    surgery: (N, 1 + L, W) sum of the V-V outputs since the last reset, under the original class token.
    features: (N, 1 + L, C) float32, `surgery` -> ln_post -> proj -> unit length: comparable with text.
    image: (N, C) float32 unit length, the ordinary image embedding.
    grid: (h, w); patches are row-major over it.
    """

    original: tuple[torch.Tensor, ...]
    surgery: tuple[torch.Tensor, ...]
    features: tuple[torch.Tensor, ...]
    image: torch.Tensor
    grid: tuple[int, int]


@torch.inference_mode()
def dual_path(tower: nn.Module, pixels: torch.Tensor, stages: Sequence[int]) -> DualPath:
    """Walk a tower's blocks, both paths side by side.

    tower: an open_clip VisionTransformer, frozen (`eval`), with a class token. pixels: (N, 3, S, S), normalised.
    stages: 1-based blocks, ascending. The paper's are the ends of the four quarters.

    Raises EncoderError for a tower that is no such transformer and for stages that it lacks.
    """
    vit, blocks = plain_transformer(tower)
    _check_stages(stages, len(blocks))
    reset = len(blocks) // QUARTERS
    x, grid = _embed(vit, pixels)
    own = torch.zeros_like(x)
    original, surgery = [], []
    for number, block in enumerate(blocks):
        added = vv_attention(block, x)
        own = added if number % reset == 0 else own + added
        x = block(x)
        if number + 1 in stages:
            original.append(x)
            surgery.append(torch.cat([x[:, :1], own[:, 1:]], dim=1))
    return DualPath(
        original=tuple(original),
        surgery=tuple(surgery),
        features=tuple(_project(vit, tokens) for tokens in surgery),
        image=_project(vit, x[:, 0]),
        grid=grid,
    )


def vv_attention(block: Any, x: torch.Tensor) -> torch.Tensor:
    """`W_o softmax(v v^T / sqrt d) v` of a residual block's input (N, T, W), `v` taken from LN1: (N, T, W).

    A block with layer scale applies it to this output as it does to its attention's: it is a part of W_o.
    """
    attention, (count, length, width) = block.attn, x.shape
    values = F.linear(block.ln_1(x), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    heads = values.reshape(count, length, attention.num_heads, -1).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(heads, heads, heads)
    scaled: torch.Tensor = block.ls_1(attention.out_proj(mixed.transpose(1, 2).flatten(2)))
    return scaled


def _embed(vit: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
    """What the first block reads, (N, 1 + L, W), and the patches' grid."""
    patches: torch.Tensor = vit.conv1(pixels.to(vit.conv1.weight.dtype))
    first = vit.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
    entry: torch.Tensor = vit.ln_pre(tokens + vit.positional_embedding.to(tokens.dtype))
    return entry, (patches.shape[2], patches.shape[3])


def _project(vit: Any, tokens: torch.Tensor) -> torch.Tensor:
    return F.normalize((vit.ln_post(tokens) @ vit.proj).float(), dim=-1)


def plain_transformer(tower: nn.Module) -> tuple[Any, Sequence[Any]]:
    """The tower and its blocks, once it is certain that this file's arithmetic is the tower's.

    Raises EncoderError, naming what was expected, for any other tower.
    """
    blocks = list(getattr(getattr(tower, "transformer", None), "resblocks", ()))
    attentions = [getattr(block, "attn", None) for block in blocks]
    if not blocks or not all(isinstance(attention, nn.MultiheadAttention) for attention in attentions):
        raise _unfit(tower, "it has no residual blocks with a plain multi-head attention")
    if getattr(tower, "attn_pool", None) is not None:
        raise _unfit(tower, "it pools by attention")
    if getattr(tower, "pool_type", "tok") != "tok" or getattr(tower, "proj", None) is None:
        raise _unfit(tower, "its class token is not what it projects into the space of the text")
    if len(blocks) % QUARTERS:
        raise _unfit(tower, f"it has {len(blocks)} blocks, which make no four equal quarters")
    return tower, blocks


def _unfit(tower: nn.Module, reason: str) -> EncoderError:
    return EncoderError(
        "the dual path (CLIP-AD) expects an open_clip VisionTransformer with class-token pooling and a multiple "
        f"of {QUARTERS} blocks, got {type(tower).__name__}: {reason}"
    )


def _check_stages(stages: Sequence[int], blocks: int) -> None:
    if not stages or list(stages) != sorted(set(stages)) or stages[0] < 1 or stages[-1] > blocks:
        raise EncoderError(f"expected ascending, distinct stages from 1 to {blocks}, got {list(stages)}")
