"""The oracle's APRIL-GAN and CLIP-AD keep the laws and the worked examples of the specification."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch

from tests.core.oracle import april_gan_numpy as april_gan
from tests.core.oracle import sdp_numpy as sdp
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats, bilinear, unit
from tests.core.oracle.clip_numpy import Clip, encode_image, encode_text, image_blocks, load_clip, project
from tests.core.oracle.torch_twin import open_clip_twin


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.LivelyClip:
    return tiny.lively_tiny_clip(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="module")
def clip(files: tiny.LivelyClip) -> Clip:
    return load_clip(files.config, files.weights)


@pytest.fixture(scope="module")
def text() -> Floats:
    return unit(np.random.default_rng(3).standard_normal((2, 16)))


def random_units(count: int, depth: int, seed: int) -> Floats:
    return unit(np.random.default_rng(seed).standard_normal((count, depth)))


# ------------------------------------------------------------------------------------- APRIL-GAN


def test_there_are_245_normal_and_175_abnormal_sentences_all_different() -> None:
    normal, abnormal = april_gan.sentences("metal_nut")
    assert (len(normal), len(abnormal)) == (245, 175)
    assert len({*normal, *abnormal}) == 420
    assert "a photo of my flawless metal_nut." in normal
    assert "there is a metal_nut with damage in the scene." in abnormal


def test_text_features_are_the_unit_mean_of_unit_sentences(clip: Clip) -> None:
    features = april_gan.text_features(clip, "bottle", tiny.tokenize)
    broken = [encode_text(clip, tiny.tokenize([s]))[0] for s in april_gan.sentences("bottle")[1]]
    np.testing.assert_allclose(features[1], unit(np.sum(broken, axis=0)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-12)


def test_the_one_channel_form_of_the_zero_shot_map_is_exact(text: Floats) -> None:
    grid = np.random.default_rng(0).standard_normal((2, 5, 7, 32))
    layer = tiny.lively_linears()[0]
    whole = april_gan.zero_shot_map(grid, layer, text, (20, 28))
    cheap = april_gan.cheap_zero_shot_map(grid, layer, text, (20, 28))
    np.testing.assert_allclose(whole, cheap, atol=1e-12)


def test_the_map_is_the_plain_sum_of_all_stage_maps(clip: Clip, text: Floats) -> None:
    result = april_gan.inspect(
        clip,
        tiny.random_pixels(2),
        text=text,
        linears=tiny.lively_linears(),
        stages=tiny.STAGES,
        references=tiny.random_pixels(1, seed=5),
    )
    assert result.few_shot_stages is not None
    assert result.zero_shot_stages.shape == result.few_shot_stages.shape == (4, 2, 32, 32)
    total = result.zero_shot_stages.sum(axis=0) + result.few_shot_stages.sum(axis=0)
    np.testing.assert_allclose(result.map, total, atol=1e-12)


def test_a_reference_has_no_distance_to_its_own_bank(clip: Clip) -> None:
    features = encode_image(clip, tiny.random_pixels(2))
    banks = april_gan.stage_banks(clip, features, tiny.STAGES, tiny.lively_linears())
    for grid, bank in zip(april_gan.stage_grids(clip, features, tiny.STAGES), banks, strict=True):
        assert bank.shape == (2 * 64, 32)
        assert np.abs(april_gan.few_shot_map(grid, bank, (32, 32))).max() < 1e-12


def test_bank_distance_is_a_token_by_token_minimum_and_bounded_by_halving() -> None:
    tokens, bank = random_units(6, 8, 0) * 3.0, random_units(5, 8, 1)
    slow = [min(1 - t @ b / np.linalg.norm(t) for b in bank) for t in tokens]
    np.testing.assert_allclose(april_gan.bank_distance(tokens, bank), slow, atol=1e-12)
    np.testing.assert_allclose(april_gan.bank_distance(tokens, bank, bounded=True), np.divide(slow, 2), atol=1e-12)
    assert april_gan.bank_distance(-bank[:1], bank[:1], bounded=True) == pytest.approx(1.0)


def test_the_paper_score_scales_the_peaks_over_the_test_set() -> None:
    maps = np.zeros((3, 2, 2))
    maps[:, 1, 0] = [1.0, 3.0, 2.0]
    scores = april_gan.paper_image_scores(np.array([0.2, 0.6, 0.4]), maps)
    np.testing.assert_allclose(scores, [0.1, 0.8, 0.45])
    with pytest.raises(ValueError, match="differ"):
        april_gan.paper_image_scores(np.array([0.5]), maps[:1])


def test_the_stage_statistics_take_one_pixel_at_least() -> None:
    small, large = np.arange(9.0).reshape(1, 3, 3), np.arange(400.0).reshape(1, 20, 20)
    np.testing.assert_allclose(april_gan.stage_statistics(small), [[8.0, 8.0, 4.0]])
    np.testing.assert_allclose(april_gan.stage_statistics(large), [[399.0, 397.5, 199.5]])


# --------------------------------------------------------------------------------------- CLIP-AD


def test_sdp_has_19_states_and_22_templates() -> None:
    normal, abnormal = sdp.sentences("capsule")
    assert (len(normal), len(abnormal)) == (9 * 22, 10 * 22)
    assert len({*normal, *abnormal}) == 19 * 22
    assert "a photo of the capsule without crack for anomaly detection." in normal
    assert "a photo of a large imperfect capsule." in abnormal


def test_the_representative_is_the_unit_mean_of_the_largest_cluster_without_noise() -> None:
    few, many, noise = np.eye(4)[0], np.eye(4)[1], np.eye(4)[2]
    jitter = 0.01 * np.random.default_rng(0).standard_normal((61, 4))
    vectors = unit(np.concatenate([np.tile(few, (20, 1)), np.tile(many, (40, 1)), noise[None]]) + jitter)
    np.testing.assert_allclose(sdp.representative_vector(vectors), unit(vectors[20:60].mean(axis=0)), atol=1e-12)


def test_the_representative_is_the_mean_of_all_when_there_is_no_cluster() -> None:
    vectors = np.eye(20)[:14]
    np.testing.assert_allclose(sdp.representative_vector(vectors), unit(vectors.mean(axis=0)), atol=1e-12)


def test_the_lively_sentences_make_the_selection_differ_from_the_mean(clip: Clip) -> None:
    chosen = sdp.text_features(clip, "metal_nut", tiny.tokenize)
    plain = sdp.text_features(clip, "metal_nut", tiny.tokenize, mean=True)
    assert np.abs(chosen - plain).max() > 1e-3


def test_vv_attention_is_open_clips_block_with_values_for_queries_and_keys(
    files: tiny.LivelyClip, clip: Clip
) -> None:
    pixels = tiny.random_pixels(2)
    entries = _block_entries(open_clip_twin(files, "gelu", tiny.IMAGE_SIZE), pixels)
    for block, (entry, expected) in zip(image_blocks(clip), entries, strict=True):
        np.testing.assert_allclose(sdp.vv_attention(clip, block, entry), expected, rtol=0, atol=1e-9)


def _block_entries(model: open_clip.CLIP, pixels: Floats) -> list[tuple[Floats, Floats]]:
    """(what each of open_clip's blocks reads, V-V attention computed by torch from its weights)."""
    visual, found = model.visual, []
    with torch.no_grad():
        x = visual._embeds(torch.from_numpy(pixels))
        for block in visual.transformer.resblocks:
            attention = block.attn
            joint = torch.nn.functional.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
            values = joint.chunk(3, dim=-1)[2]
            value = values.reshape(*values.shape[:2], attention.num_heads, -1).transpose(1, 2)
            mixed = torch.nn.functional.scaled_dot_product_attention(value, value, value)
            found.append((x.numpy(), attention.out_proj(mixed.transpose(1, 2).flatten(2)).numpy()))
            x = block(x)
    return found


def test_the_original_path_is_the_ordinary_tower_to_the_bit(clip: Clip) -> None:
    pixels = tiny.random_pixels(2, tiny.RESIZED)
    plain, paths = encode_image(clip, pixels), sdp.dual_path(clip, pixels)
    for block, tokens in zip(tiny.STAGES, paths.original, strict=True):
        np.testing.assert_array_equal(tokens, plain.after_block(block))


def test_a_stage_is_the_sum_of_its_own_blocks_with_the_ordinary_class_token(clip: Clip) -> None:
    pixels = tiny.random_pixels(1)
    plain, paths = encode_image(clip, pixels), sdp.dual_path(clip, pixels)
    blocks = list(image_blocks(clip))
    for stage, last in enumerate(tiny.STAGES[1:], 1):
        added = [sdp.vv_attention(clip, blocks[b - 1], plain.after_block(b - 1)) for b in (last - 1, last)]
        tokens = paths.surgery[stage]
        np.testing.assert_allclose(tokens[:, 1:], np.sum(added, axis=0)[:, 1:], atol=1e-12)
        np.testing.assert_array_equal(tokens[:, 0], plain.after_block(last)[:, 0])
        np.testing.assert_allclose(paths.features[stage], unit(project(clip, tokens)), atol=1e-12)


def test_feature_surgery_weighs_by_the_stages_own_class_token(text: Floats) -> None:
    features = random_units(3, 16, 4)[None]
    normal, abnormal = np.exp(features[0, 0] @ text[0]), np.exp(features[0, 0] @ text[1])
    share = abnormal / (normal + abnormal)
    slow = [share * (f @ text[1]) - (1 - share) * (f @ text[0]) for f in features[0, 1:]]
    np.testing.assert_allclose(sdp.surgery_similarity(features, text), [slow], atol=1e-12)


def test_the_sdp_maps_are_stretched_then_blurred(clip: Clip, text: Floats) -> None:
    pixels = tiny.random_pixels(2)
    features = sdp.dual_path(clip, pixels).features
    grid = np.sum([sdp.surgery_similarity(f, text) for f in features], axis=0).reshape(2, 8, 8)
    sharp = sdp.sdp_map(clip, pixels, text, sigma=0.0)
    np.testing.assert_allclose(sharp, bilinear(grid, (32, 32), align_corners=False), atol=1e-12)
    np.testing.assert_allclose(sdp.sdp_map(clip, pixels, text), _slow_blur(sharp, sigma=8), atol=1e-9)


def _slow_blur(maps: Floats, *, sigma: int) -> Floats:
    """Gaussian weights cut off at four sigma, over maps (N, S, S) mirrored at their edges."""
    reach, size = 4 * sigma, maps.shape[-1]
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(maps, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric"), (2 * reach + 1,) * 2, axis=(1, 2)
    )
    assert windows.shape[1:3] == (size, size)
    return np.asarray(np.einsum("nijab,a,b->nij", windows, weights, weights, optimize=True) / weights.sum() ** 2)


def test_sdp_plus_adds_the_zero_shot_stages_of_the_original_path(clip: Clip, text: Floats) -> None:
    pixels, linears = tiny.random_pixels(2), tiny.lively_linears()
    zero_shot = april_gan.inspect(clip, pixels, text=text, linears=linears, stages=tiny.STAGES).map
    both = sdp.sdp_plus_map(clip, pixels, text, linears, sigma=0.0)
    np.testing.assert_allclose(both, sdp.sdp_map(clip, pixels, text, sigma=0.0) + zero_shot, atol=1e-12)
