"""The embedded tower is timm's, bit for bit, as open_clip wraps it: what belongs to one belongs to both."""

from __future__ import annotations

import pytest
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from core.digests import tensor_digests
from core.lite_tower import LEVELS, LiteTower, load_by_position, packaged_trunk_weights

EVERY_LEVEL = list(range(len(LEVELS)))


def towers(
    layout: torch.memory_format = torch.contiguous_format, dtype: torch.dtype = torch.float32
) -> list[nn.Module]:
    """Ours and open_clip's, with the packaged weights."""
    theirs = TimmModel("tf_efficientnet_lite0", embed_dim=0, pool="avg", proj="none", pretrained=False)
    pair: list[nn.Module] = [LiteTower(), theirs]
    for tower in pair:
        load_by_position(tower.trunk, packaged_trunk_weights())
        tower.eval().requires_grad_(False).to(dtype).to(memory_format=layout)
    return pair


def levels(tower: nn.Module, pixels: torch.Tensor, indices: list[int]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return tower.forward_intermediates(
            pixels, indices=indices, output_fmt="NCHW", intermediates_only=True, stop_early=True
        )["image_intermediates"]


def test_its_tensors_bear_open_clips_names_and_the_same_bytes():
    ours, theirs = (tensor_digests(tower.state_dict()) for tower in towers())
    assert ours == theirs


@pytest.mark.parametrize("size", [384, 250, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_level_is_timms_to_the_last_bit(size: int, dtype: torch.dtype, layout: torch.memory_format):
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    pixels = pixels.to(dtype=dtype, memory_format=layout)
    ours, theirs = (levels(tower, pixels, EVERY_LEVEL) for tower in towers(layout, dtype))
    for level, other in zip(ours, theirs, strict=True):
        assert torch.equal(level, other)


def test_some_levels_are_those_among_all():
    ours = towers()[0]
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    every = levels(ours, pixels, EVERY_LEVEL)
    for level, other in zip(levels(ours, pixels, [1, 3]), (every[1], every[3]), strict=True):
        assert torch.equal(level, other)


@pytest.mark.parametrize("asked", [{"output_fmt": "NLC"}, {"intermediates_only": False}])
def test_what_it_does_not_have_is_refused(asked: dict[str, object]):
    usual = {"indices": [1], "output_fmt": "NCHW", "intermediates_only": True, "stop_early": True}
    with pytest.raises(ValueError, match="intermediates alone, in NCHW"):
        LiteTower().forward_intermediates(torch.zeros(1, 3, 32, 32), **{**usual, **asked})
