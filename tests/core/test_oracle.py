"""The oracle stands on open_clip's own model, and its tiny towers are lively enough to show every mutant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from tests.core.oracle import april_gan_numpy as april_gan
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats, bicubic_antialiased, bilinear
from tests.core.oracle.clip_numpy import Activation, Clip, encode_image, encode_text, load_clip
from tests.core.oracle.torch_twin import open_clip_twin

EXACT = 1e-9
SIZES = (24, tiny.IMAGE_SIZE, tiny.RESIZED)
"""A position embedding that shrinks, that stays, that grows."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.LivelyClip:
    return tiny.lively_tiny_clip(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="module")
def clip(files: tiny.LivelyClip) -> Clip:
    return load_clip(files.config, files.weights)


@pytest.fixture(scope="module")
def text(clip: Clip) -> Floats:
    return april_gan.text_features(clip, "metal_nut", tiny.tokenize)


@pytest.fixture(scope="module")
def inspect(clip: Clip, text: Floats) -> Callable[..., april_gan.Inspection]:
    """Inspect three random images against two references, under a variant or references of a test's own."""
    pixels, linears = tiny.random_pixels(3), tiny.lively_linears()

    def run(
        variant: april_gan.Variant = april_gan.PAPER, *, references: Floats | None = None
    ) -> april_gan.Inspection:
        against = tiny.random_pixels(2, seed=9) if references is None else references
        return april_gan.inspect(
            clip, pixels, text=text, linears=linears, stages=tiny.STAGES, references=against, variant=variant
        )

    return run


# ---------------------------------------------------------------------------------------- towers


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_the_image_tower_is_open_clips_after_every_block(
    files: tiny.LivelyClip, activation: Activation, size: int
) -> None:
    pixels = tiny.random_pixels(2, size)
    ours = encode_image(load_clip(files.config, files.weights, activation=activation), pixels)
    with torch.no_grad():
        theirs = open_clip_twin(files, activation, size).forward_intermediates(
            image=torch.from_numpy(pixels), image_output_fmt="NLC", image_output_extra_tokens=True
        )
    tokens = zip(theirs["image_intermediates_prefix"], theirs["image_intermediates"], strict=True)
    streams = [torch.cat(pair, dim=1).numpy() for pair in tokens]
    assert len(ours.stream) == len(streams) == 8
    for mine, its in zip(ours.stream, streams, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=EXACT)
    np.testing.assert_allclose(ours.embedding, theirs["image_features"].numpy(), rtol=0, atol=EXACT)


@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_the_text_tower_is_open_clips(files: tiny.LivelyClip, activation: Activation) -> None:
    words = ["a photo of a damaged hazelnut.", "there is the metal_nut without flaw in the scene.", ""]
    tokens = tiny.tokenize(words)
    ours = encode_text(load_clip(files.config, files.weights, activation=activation), tokens)
    with torch.no_grad():
        model = open_clip_twin(files, activation, tiny.IMAGE_SIZE)
        theirs = model.encode_text(torch.from_numpy(tokens), normalize=True)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=EXACT)


def test_the_saved_files_take_open_clips_own_road_and_its_resize(files: tiny.LivelyClip, clip: Clip) -> None:
    config = json.loads(files.config.read_text())
    config["vision_cfg"]["image_size"] = tiny.RESIZED
    model = open_clip.CLIP(**config).eval()
    open_clip.load_checkpoint(model, str(files.weights))
    pixels = tiny.random_pixels(2, tiny.RESIZED)
    with torch.no_grad():
        theirs = model.encode_image(torch.from_numpy(pixels).float(), normalize=True)
    np.testing.assert_allclose(encode_image(clip, pixels).embedding, theirs.numpy(), rtol=0, atol=1e-5)


def test_the_activations_are_told_apart(files: tiny.LivelyClip, tmp_path: Path) -> None:
    pixels = tiny.random_pixels(1)
    other = tiny.lively_tiny_clip(tmp_path, activation="quickgelu")
    plain = encode_image(load_clip(files.config, files.weights), pixels)
    quick = encode_image(load_clip(other.config, other.weights), pixels)
    assert np.abs(plain.embedding - quick.embedding).max() > 1e-3


def test_a_config_that_the_oracle_does_not_state_is_refused(files: tiny.LivelyClip, tmp_path: Path) -> None:
    config = json.loads(files.config.read_text())
    config["vision_cfg"]["no_ln_pre"] = True
    strange = tmp_path / "strange.json"
    strange.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no_ln_pre"):
        load_clip(strange, files.weights)


# ------------------------------------------------------------------------------------ resampling


@pytest.mark.parametrize(("before", "after"), [((8, 8), (10, 10)), ((8, 8), (5, 7)), ((24, 24), (37, 37))])
def test_the_bicubic_resize_is_torchs_antialiased_one(before: tuple[int, int], after: tuple[int, int]) -> None:
    grids = np.random.default_rng(0).standard_normal((3, *before))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(grids)[None], size=after, mode="bicubic", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(bicubic_antialiased(grids, after), theirs[0].numpy(), rtol=0, atol=EXACT)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("before", "after"), [((8, 8), (32, 32)), ((8, 5), (33, 21)), ((1, 1), (4, 4))])
def test_the_bilinear_stretch_is_torchs(
    before: tuple[int, int], after: tuple[int, int], align_corners: bool
) -> None:
    grids = np.random.default_rng(0).standard_normal((3, *before))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(grids)[None], size=after, mode="bilinear", align_corners=align_corners
    )
    ours = bilinear(grids, after, align_corners=align_corners)
    np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=0, atol=EXACT)


# --------------------------------------------------------------------------------------- mutants

SHOWN_BY = {
    "layer off by one": ("zero_shot_stages", "few_shot_stages"),
    "ln_post added": ("zero_shot_stages", "few_shot_stages"),
    "CLS kept": ("zero_shot_stages", "few_shot_stages"),
    "softmax before upsample": ("zero_shot_stages",),
    "align_corners False": ("zero_shot_stages", "few_shot_stages"),
    "mean for sum": (),
    "bank after the linear": ("few_shot_stages",),
    "temperature 1": ("zero_shot_stages", "text_score"),
    "normal/abnormal swapped": ("zero_shot_stages", "text_score"),
}
"""Beside the summed map, which shows them all, the outputs in which a mutant shows."""


@pytest.mark.parametrize("name", april_gan.MUTANTS)
def test_a_mutant_moves_the_tiny_towers_outputs(name: str, inspect: Callable[..., april_gan.Inspection]) -> None:
    method, mutant = inspect(), inspect(april_gan.MUTANTS[name])
    for output in ("map", *SHOWN_BY[name]):
        assert np.abs(getattr(method, output) - getattr(mutant, output)).max() > 1e-3, output


@pytest.mark.parametrize("block", range(1, 9))
def test_every_block_moves_every_token_grid(clip: Clip, block: int) -> None:
    features = encode_image(clip, tiny.random_pixels(1))
    here = features.after_block(block)
    assert all(np.abs(here - x).max() > 1e-3 for number, x in enumerate(features.stream, 1) if number != block)


def test_another_products_bank_moves_the_map(inspect: Callable[..., april_gan.Inspection]) -> None:
    own, other = inspect(), inspect(references=tiny.random_pixels(2, seed=10))
    assert np.abs(own.map - other.map).max() > 1e-3


def test_another_objects_name_moves_the_text_features(clip: Clip, text: Floats) -> None:
    assert np.abs(text - april_gan.text_features(clip, "hazelnut", tiny.tokenize)).max() > 1e-3


def test_the_scores_stay_away_from_saturation(inspect: Callable[..., april_gan.Inspection]) -> None:
    result = inspect()
    assert result.zero_shot_stages.min() > 1e-2
    assert result.zero_shot_stages.max() < 0.99
    assert np.abs(result.text_score - 0.5).max() < 0.3
