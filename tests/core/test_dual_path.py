"""The dual path is the oracle's, and the tower that it walks beside never notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import core
from core.dual_path import dual_path
from core.errors import EncoderError
from tests.core.clip_ad_rig import SHOWS, assert_parity, pixels_of, walk
from tests.core.oracle import sdp_numpy as oracle
from tests.core.oracle import tiny
from tests.core.oracle.clip_numpy import load_clip


@pytest.mark.parametrize("size", [tiny.IMAGE_SIZE, tiny.RESIZED])
@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_both_paths_are_the_oracles(lively_files: tiny.LivelyClip, activation: str, size: int) -> None:
    encoder = core.load_encoder(
        str(lively_files.config),
        weights=lively_files.weights,
        activation=activation,
        image_size=size,
        device="cpu",
    )
    exact, pixels = pixels_of(2, size)
    clip = load_clip(lively_files.config, lively_files.weights, activation=activation)
    ours, expected = walk(encoder, pixels), oracle.dual_path(clip, exact)
    assert ours.grid == (size // 4, size // 4)
    for name in ("original", "surgery", "features"):
        for stage, its in zip(getattr(ours, name), getattr(expected, name), strict=True):
            assert_parity(stage, its)


def test_the_original_path_is_the_encoders_to_the_bit(lively_encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    paths, features = walk(lively_encoder, pixels), lively_encoder(pixels)
    for ours, ordinary in zip(paths.original, features.stages, strict=True):
        assert torch.equal(ours[:, 1:], ordinary)
    assert torch.equal(paths.image, features.image)


def test_the_class_token_is_open_clips_too(lively_encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    with torch.inference_mode():
        theirs = lively_encoder.tower.forward_intermediates(
            pixels, indices=[1, 3, 5, 7], output_fmt="NLC", output_extra_tokens=True
        )
    paths = walk(lively_encoder, pixels)
    for ours, surgery, prefix in zip(
        paths.original, paths.surgery, theirs["image_intermediates_prefix"], strict=True
    ):
        assert torch.equal(ours[:, :1], prefix)
        assert torch.equal(surgery[:, :1], prefix)


def test_the_encoder_gives_the_same_bits_before_between_and_after(lively_encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    before = lively_encoder(pixels)
    first_walk = walk(lively_encoder, pixels)
    between = lively_encoder(pixels)
    second_walk = walk(lively_encoder, pixels)
    for later in (between, lively_encoder(pixels)):
        assert all(map(torch.equal, before.stages, later.stages))
        assert torch.equal(before.image, later.image)
    for path in ("original", "surgery", "features"):
        assert all(map(torch.equal, getattr(first_walk, path), getattr(second_walk, path)))


def test_the_walk_leaves_weights_and_modules_as_they_are(lively_encoder: core.Encoder) -> None:
    tower = lively_encoder.tower
    weights = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    modules = [(id(module), dict(vars(module))) for module in tower.modules()]
    walk(lively_encoder, pixels_of(1)[1])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tower.state_dict().items())
    for module, (identity, attributes) in zip(tower.modules(), modules, strict=True):
        assert id(module) == identity
        assert all(vars(module)[name] is value for name, value in attributes.items())
        assert len(vars(module)) == len(attributes)


def test_a_stage_between_two_resets_holds_what_was_gathered_since_the_first(lively_encoder: core.Encoder) -> None:
    _, pixels = pixels_of(1)
    early, late = dual_path(lively_encoder.tower, pixels, (3, 4)).surgery
    assert torch.equal(late, walk(lively_encoder, pixels).surgery[1])
    assert (early[:, 1:] - late[:, 1:]).abs().max() > SHOWS


@pytest.mark.parametrize("stages", [(), (0, 2), (4, 2), (2, 2), (8, 9)])
def test_stages_that_the_tower_lacks_are_refused(lively_encoder: core.Encoder, stages: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError, match=r"stages from 1 to 8, got \["):
        dual_path(lively_encoder.tower, pixels_of(1)[1], stages)


def cnn_tower() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    return ModifiedResNet(layers=[1, 1, 1, 1], output_dim=16, heads=4, image_size=32, width=8)


def vit_tower(**options: object) -> nn.Module:
    from open_clip.transformer import VisionTransformer

    sizes = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 4, "heads": 2}
    return VisionTransformer(**{**sizes, "mlp_ratio": 4.0, "output_dim": 8, **options})


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (cnn_tower, "got ModifiedResNet: it has no residual blocks"),
        (lambda: vit_tower(attentional_pool=True, attn_pooler_heads=2), "it pools by attention"),
        (lambda: vit_tower(pool_type="avg"), "its class token is not what it projects"),
        (lambda: vit_tower(qk_norm=True), "a plain multi-head attention"),
        (lambda: vit_tower(layers=6), "6 blocks, which make no four equal quarters"),
        (nn.Identity, "got Identity"),
    ],
    ids=["cnn", "attention pooling", "average pooling", "normed queries", "six blocks", "no tower"],
)
def test_a_tower_that_is_no_plain_vision_transformer_is_refused(
    build: Callable[[], nn.Module], reason: str
) -> None:
    with pytest.raises(EncoderError, match="expects an open_clip VisionTransformer") as refusal:
        dual_path(build(), torch.zeros(1, 3, 32, 32), (1,))
    assert reason in str(refusal.value)


def test_layer_scale_counts_as_a_part_of_the_output_weights() -> None:
    torch.manual_seed(0)
    scaled, folded = vit_tower(ls_init_value=1.0).eval(), vit_tower().eval()
    state = scaled.state_dict()
    for name in [name for name in state if name.endswith(".gamma")]:
        gamma = state.pop(name).uniform_(0.2, 2.0)
        output = name.replace("ls_1.gamma", "attn.out_proj").replace("ls_2.gamma", "mlp.c_proj")
        state[f"{output}.weight"] = gamma[:, None] * state[f"{output}.weight"]
        state[f"{output}.bias"] = gamma * state[f"{output}.bias"]
    folded.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32)
    ours, same = (dual_path(tower, pixels, (1, 2, 3, 4)) for tower in (scaled, folded))
    for mine, its in zip(ours.features, same.features, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-5)
