"""CLIP-AD's maps against the float64 oracle, and its mutants, none of which can pass for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import core
from core.clip_ad_text import clip_ad_text_features
from core.gaussian_blur import gaussian_blur
from core.inspection import inspect
from core.methods.april_gan import AprilGan
from core.methods.sdp import Sdp, SdpPlus, dual_features, feature_surgery_map
from core.text import text_encoder_of
from tests.core.clip_ad_rig import SHOWS, assert_parity, lively_adapter, open_clip_embed, pixels_of, walk
from tests.core.oracle import sdp_numpy as oracle
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats, unit
from tests.core.oracle.clip_numpy import Clip


@pytest.fixture(scope="module")
def text() -> Floats:
    """Text features of a seed: further apart than a random text tower's, so that the maps have relief."""
    return unit(np.random.default_rng(3).standard_normal((2, 16)))


@pytest.fixture(scope="module")
def words(text: Floats) -> torch.Tensor:
    """`text` for the product."""
    return torch.from_numpy(text).float()


def final_map(branch: Sdp, encoder: core.Encoder, pixels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """A branch's map (N, 32, 32) without any bank."""
    stages = branch.stage_maps(dual_features(encoder, pixels), words, 32)
    return branch.finish(torch.stack(stages).sum(dim=0))


def test_every_stages_surgery_map_is_the_oracles(
    lively_encoder: core.Encoder, lively_clip: Clip, text: Floats, words: torch.Tensor
) -> None:
    exact, pixels = pixels_of()
    paths, expected = walk(lively_encoder, pixels), oracle.dual_path(lively_clip, exact)
    for features, its in zip(paths.features, expected.features, strict=True):
        assert_parity(feature_surgery_map(features, words), oracle.surgery_similarity(its, text))


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_the_sdp_map_is_the_oracles(
    lively_encoder: core.Encoder, lively_clip: Clip, text: Floats, words: torch.Tensor, sigma: float
) -> None:
    exact, pixels = pixels_of()
    ours = final_map(Sdp(sigma=sigma), lively_encoder, pixels, words)
    assert_parity(ours, oracle.sdp_map(lively_clip, exact, text, sigma=sigma))


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_the_sdp_plus_map_is_the_oracles(
    lively_encoder: core.Encoder, lively_clip: Clip, text: Floats, words: torch.Tensor, sigma: float
) -> None:
    exact, pixels = pixels_of()
    branch = SdpPlus(lively_adapter(lively_encoder), sigma=sigma)
    ours = final_map(branch, lively_encoder, pixels, words)
    assert_parity(ours, oracle.sdp_plus_map(lively_clip, exact, text, tiny.lively_linears(), sigma=sigma))


def test_the_whole_of_sdp_from_sentences_to_map_is_the_oracles(
    lively_encoder: core.Encoder, lively_clip: Clip, lively_files: tiny.LivelyClip
) -> None:
    exact, pixels = pixels_of()
    words = clip_ad_text_features(open_clip_embed(lively_files), "metal_nut")
    expected = oracle.text_features(lively_clip, "metal_nut", tiny.tokenize)
    assert_parity(final_map(Sdp(), lively_encoder, pixels, words), oracle.sdp_map(lively_clip, exact, expected))


@pytest.mark.parametrize("name", oracle.MUTANTS)
def test_a_mutant_of_sdp_cannot_pass_for_the_method(lively_clip: Clip, text: Floats, name: str) -> None:
    exact, _ = pixels_of()
    mutant = oracle.sdp_map(lively_clip, exact, text, variant=oracle.MUTANTS[name])
    assert np.abs(mutant - oracle.sdp_map(lively_clip, exact, text)).max() > SHOWS


@pytest.mark.parametrize("name", [*oracle.MUTANTS, *oracle.PLUS_MUTANTS])
def test_a_mutant_of_sdp_plus_cannot_pass_for_the_method(lively_clip: Clip, text: Floats, name: str) -> None:
    exact, _ = pixels_of()
    variant, linears = {**oracle.MUTANTS, **oracle.PLUS_MUTANTS}[name], tiny.lively_linears()
    mutant = oracle.sdp_plus_map(lively_clip, exact, text, linears, sigma=2.0, variant=variant)
    assert np.abs(mutant - oracle.sdp_plus_map(lively_clip, exact, text, linears, sigma=2.0)).max() > SHOWS


def test_a_picture_alone_has_the_map_that_it_has_in_company(
    lively_encoder: core.Encoder, words: torch.Tensor
) -> None:
    _, pixels = pixels_of(5)
    branch = SdpPlus(lively_adapter(lively_encoder))
    together = final_map(branch, lively_encoder, pixels, words)
    for order in ([3], [4, 1], [2, 0, 4]):
        apart = final_map(branch, lively_encoder, pixels[order], words)
        torch.testing.assert_close(apart, together[order], rtol=0, atol=1e-5)


def test_bfloat16_gives_nearly_the_same_maps_in_the_same_order(
    lively_files: tiny.LivelyClip, lively_encoder: core.Encoder, words: torch.Tensor
) -> None:
    coarse = core.load_encoder(
        str(lively_files.config), weights=lively_files.weights, device="cpu", precision="bfloat16"
    )
    _, pixels = pixels_of()
    full, half = (final_map(Sdp(), one, pixels, words) for one in (lively_encoder, coarse))
    torch.testing.assert_close(half, full, rtol=0, atol=2e-2)
    assert half.amax(dim=(1, 2)).argsort().tolist() == full.amax(dim=(1, 2)).argsort().tolist()


def test_text_features_of_another_width_are_refused(lively_encoder: core.Encoder) -> None:
    with pytest.raises(ValueError, match=r"expected text features \(2, 16\), got \(2, 15\)"):
        final_map(Sdp(), lively_encoder, pixels_of(1)[1], torch.zeros(2, 15))


def test_the_grids_are_the_maps_before_they_are_stretched(
    lively_encoder: core.Encoder, lively_clip: Clip, text: Floats, words: torch.Tensor
) -> None:
    exact, pixels = pixels_of()
    features = dual_features(lively_encoder, pixels)
    plain = Sdp().grids(features, words)
    for ours, its in zip(plain, oracle.dual_path(lively_clip, exact).features, strict=True):
        assert_parity(ours.flatten(1), oracle.surgery_similarity(its, text))
    adapter = lively_adapter(lively_encoder)
    both, linear = SdpPlus(adapter).grids(features, words), AprilGan(adapter).logits(features, words)
    for ours, surgery, logits in zip(both, plain, linear, strict=True):
        torch.testing.assert_close(ours, surgery + torch.sigmoid(logits))


@pytest.mark.parametrize("method", ["sdp", "sdp+"])
def test_the_scorer_takes_it_as_a_method_and_leaves_the_bank_its_tokens(
    lively_encoder: core.Encoder, lively_files: tiny.LivelyClip, method: str, rng: np.random.Generator
) -> None:
    images = [rng.integers(0, 256, (48, 40, 3), dtype=np.uint8) for _ in range(2)]
    adapter = lively_adapter(lively_encoder) if method == "sdp+" else None
    scorer = core.Scorer(lively_encoder, method=method, adapter=adapter)
    features, ordinary = scorer.encode(images), lively_encoder.encode(images)
    assert all(map(torch.equal, features.stages, ordinary.stages))
    assert torch.equal(features.image, ordinary.image)
    branch = Sdp() if adapter is None else SdpPlus(adapter)
    words = branch.text_features(text_encoder_of(lively_encoder.spec, lively_files.weights).embed, "metal_nut")
    result = inspect(scorer, images, mode="streaming", text=words)
    expected = final_map(branch, lively_encoder, lively_encoder.preprocess(images), words)
    assert_parity(torch.from_numpy(result.map), expected.numpy(), within=1e-6)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("shape", [(2, 240, 240), (1, 20, 37), (3, 1, 5)])
def test_the_blur_is_scipys_also_where_the_kernel_is_wider_than_the_map(
    shape: tuple[int, int, int], sigma: float
) -> None:
    maps = np.random.default_rng(0).uniform(-1, 4, shape).astype(np.float32)
    expected = np.stack([gaussian_filter(one.astype(np.float64), sigma) for one in maps])
    assert_parity(gaussian_blur(torch.from_numpy(maps), sigma), expected, within=1e-5)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_a_blur_without_a_width_is_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match="expected a sigma"):
        gaussian_blur(torch.zeros(1, 4, 4), sigma)
