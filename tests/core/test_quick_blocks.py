"""A transformer's blocks in another order of computing: the same numbers, and no tower that they do not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from open_clip.transformer import Transformer
from torch import nn

import core
import core.quick_blocks
from core.quick_blocks import QuickBlock, attention, quicken
from tests.pictures import weave


def tower(*, layer_scale: float | None = None, activation: type[nn.Module] = nn.GELU) -> nn.Module:
    torch.manual_seed(0)
    whole = nn.Module()
    whole.transformer = Transformer(32, 2, 4, ls_init_value=layer_scale, act_layer=activation).eval()
    return whole.requires_grad_(False)


@pytest.mark.parametrize("layer_scale", [None, 0.5])
@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU])
def test_in_float32_quick_blocks_are_the_towers_own_arithmetic(layer_scale, activation):
    plain = tower(layer_scale=layer_scale, activation=activation)
    quick = copy.deepcopy(plain)
    assert quicken(quick)
    assert isinstance(quick.transformer.resblocks[1], QuickBlock)
    tokens = torch.randn(3, 17, 32)
    torch.testing.assert_close(quick.transformer(tokens), plain.transformer(tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU])
def test_in_bfloat16_quick_blocks_are_as_near_to_float32_as_the_towers_own(activation):
    plain = tower(activation=activation)
    tokens = torch.randn(2, 50, 32)
    exact = plain.transformer(tokens)
    rounded = copy.deepcopy(plain).to(torch.bfloat16)
    quick = copy.deepcopy(rounded)
    assert quicken(quick)
    theirs, ours = ((each.transformer(tokens.bfloat16()).float() - exact).norm() for each in (rounded, quick))
    assert float(ours) < 1.5 * float(theirs)


@pytest.mark.parametrize(("cached", "rows"), [(1, 1), (1, 4 * 9), (1, 1 << 20), (2 * 9 * 9, 1), (1 << 20, 1)])
def test_attention_is_the_same_however_many_heads_or_rows_go_together(monkeypatch, cached, rows):
    monkeypatch.setattr(core.quick_blocks, "CACHED_SCORES", cached)
    monkeypatch.setattr(core.quick_blocks, "CACHED_ROWS", rows)
    query, key, value = torch.randn(3, 5, 9, 4)
    expected = nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attention(query, key, value), expected, atol=1e-5, rtol=0)


def test_towers_of_another_kind_stay_as_they_are():
    other = tower()
    other.transformer.resblocks[1].extra = nn.Linear(2, 2)
    assert not quicken(other)
    assert not quicken(nn.Linear(2, 2))
    assert not any(isinstance(module, QuickBlock) for module in other.modules())


def test_an_encoder_in_bfloat16_has_them_and_sdp_still_walks_its_tower(tiny_scorer):
    plain = tiny_scorer.encoder
    fast = plain.in_precision(torch.bfloat16)
    assert isinstance(fast.tower.transformer.resblocks[0], QuickBlock)
    assert not isinstance(plain.tower.transformer.resblocks[0], QuickBlock)
    exact, near = (core.Scorer(each, method="sdp").encode([weave(0)]) for each in (plain, fast))
    for one, other in zip(exact.stages, near.stages, strict=True):
        assert float(torch.cosine_similarity(one, other.float(), dim=-1).min()) > 0.999
    with pytest.raises(ValueError, match="expected an encoder in float32, got one in bfloat16"):
        fast.in_precision(torch.float32)
