"""CLIP-AD against the float64 oracle, its mutants, and the peace of the tower that it walks beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.cluster import DBSCAN
from torch import nn

import core
from core.clip_ad_prompts import sentences
from core.clip_ad_text import clip_ad_text_features
from core.dual_path import DualPath, dual_path
from core.errors import EncoderError
from core.gaussian_blur import gaussian_blur
from core.methods.sdp import feature_surgery_map, sdp_map, sdp_plus_map
from core.representative_vector import largest_cluster, representative_vector
from tests.core.oracle import sdp_numpy as oracle
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats, unit
from tests.core.oracle.clip_numpy import Clip, encode_text, load_clip
from tests.core.oracle.torch_twin import open_clip_twin

PARITY = 1e-4
"""What float32 may differ from the oracle."""
SHOWS = 10 * PARITY
"""How far a mutant must lie from the method, so that parity cannot hold for both."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.LivelyClip:
    return tiny.lively_tiny_clip(tmp_path_factory.mktemp("lively"))


@pytest.fixture(scope="module")
def clip(files: tiny.LivelyClip) -> Clip:
    return load_clip(files.config, files.weights)


@pytest.fixture(scope="module")
def encoder(files: tiny.LivelyClip) -> core.Encoder:
    return core.load_encoder(str(files.config), weights=files.weights, device="cpu")


@pytest.fixture(scope="module")
def embed(files: tiny.LivelyClip) -> Callable[[Sequence[str]], torch.Tensor]:
    """Sentences to (n, C) float32, not normalised, by open_clip's own text tower."""
    model = open_clip_twin(files, "gelu", tiny.IMAGE_SIZE).float()

    def run(texts: Sequence[str]) -> torch.Tensor:
        with torch.inference_mode():
            encoded: torch.Tensor = model.encode_text(torch.from_numpy(tiny.tokenize(texts)))
        return encoded

    return run


@pytest.fixture(scope="module")
def sentence_vectors(clip: Clip) -> list[Floats]:
    """The oracle's unit vectors of the normal and of the abnormal sentences."""
    return [encode_text(clip, tiny.tokenize(texts)) for texts in oracle.sentences("metal_nut")]


@pytest.fixture(scope="module")
def text() -> Floats:
    """Text features of a seed: further apart than a random text tower's, so that the maps have relief."""
    return unit(np.random.default_rng(3).standard_normal((2, 16)))


def pixels_of(count: int = 3, size: int = tiny.IMAGE_SIZE) -> tuple[Floats, torch.Tensor]:
    pixels = tiny.random_pixels(count, size)
    return pixels, torch.from_numpy(pixels).float()


def walk(encoder: core.Encoder, pixels: torch.Tensor) -> DualPath:
    return dual_path(encoder.tower, pixels, encoder.stages)


def torch_linears() -> list[nn.Linear]:
    layers = []
    for layer in tiny.lively_linears():
        module = nn.Linear(layer.weight.shape[1], layer.weight.shape[0]).requires_grad_(False)
        module.load_state_dict({"weight": torch.from_numpy(layer.weight), "bias": torch.from_numpy(layer.bias)})
        layers.append(module)
    return layers


def assert_parity(ours: torch.Tensor, expected: Floats, *, within: float = PARITY) -> None:
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=within)


# ------------------------------------------------------------------------------------------ text


def test_the_sentences_are_the_oracles_in_its_order() -> None:
    assert sentences("metal_nut") == oracle.sentences("metal_nut")


@pytest.mark.parametrize("name", ["", " \t"])
def test_an_empty_object_name_is_refused(name: str) -> None:
    with pytest.raises(EncoderError, match="expected the object's name"):
        sentences(name)


def test_a_name_with_braces_goes_into_the_sentences_as_it_is() -> None:
    assert "a photo of the damaged {0}{}." in sentences("{0}{}")[1]


@pytest.mark.parametrize("selection", ["rvs", "mean"])
def test_the_text_features_are_the_oracles(
    clip: Clip, embed: Callable[[Sequence[str]], torch.Tensor], selection: str
) -> None:
    ours = clip_ad_text_features(embed, "metal_nut", selection=selection)
    assert_parity(ours, oracle.text_features(clip, "metal_nut", tiny.tokenize, mean=selection == "mean"))


def test_sentences_of_any_length_give_the_same_text_features(
    embed: Callable[[Sequence[str]], torch.Tensor],
) -> None:
    def stretched(texts: Sequence[str]) -> torch.Tensor:
        return embed(texts) * torch.linspace(0.5, 9.0, len(texts))[:, None]

    torch.testing.assert_close(
        clip_ad_text_features(stretched, "metal_nut"), clip_ad_text_features(embed, "metal_nut")
    )


# ------------------------------------------------------------------------------------------- RVS


@pytest.mark.parametrize("row", [0, 1])
def test_the_selected_sentences_are_the_largest_cluster_of_scikit_learn(
    sentence_vectors: list[Floats], row: int
) -> None:
    vectors = sentence_vectors[row]
    labels = list(DBSCAN(eps=0.5, min_samples=15, metric="euclidean").fit(vectors).labels_)
    largest = max(sorted(set(labels) - {-1}), key=labels.count)
    np.testing.assert_array_equal(largest_cluster(vectors), [label == largest for label in labels])


def test_the_lively_sentences_hold_noise_that_the_selection_drops(sentence_vectors: list[Floats]) -> None:
    assert any(not largest_cluster(vectors).all() for vectors in sentence_vectors)


def test_fifteen_alike_are_a_cluster_and_fourteen_are_none() -> None:
    noise = np.eye(8)[:4]
    fifteen = np.concatenate([noise, np.tile(np.eye(8)[7], (15, 1))])
    np.testing.assert_array_equal(largest_cluster(fifteen), [False] * 4 + [True] * 15)
    assert largest_cluster(fifteen[:-1]).all()


@pytest.mark.parametrize(("distance", "chosen"), [(0.499, 15), (0.501, 19)])
def test_neighbours_lie_within_half_a_unit(distance: float, chosen: int) -> None:
    """Two groups of 8 and 7 are one cluster when they touch; else there is none, and all 19 rows count."""
    angle = 2 * np.arcsin(distance / 2)
    near = np.cos(angle) * np.eye(8)[0] + np.sin(angle) * np.eye(8)[1]
    vectors = np.concatenate([np.tile(np.eye(8)[0], (8, 1)), np.tile(near, (7, 1)), np.eye(8)[4:]])
    assert largest_cluster(vectors).sum() == chosen


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_of_equally_large_clusters_the_one_that_begins_first_is_taken(first: int, second: int) -> None:
    vectors = np.eye(4)[[3, *[first] * 20, *[second] * 20]]
    np.testing.assert_array_equal(largest_cluster(vectors), [False, *[True] * 20, *[False] * 20])
    assert_parity(representative_vector(torch.from_numpy(vectors).float()), np.eye(4)[first], within=1e-7)
    assert_parity(
        representative_vector(torch.from_numpy(vectors).float()),
        oracle.representative_vector(vectors),
        within=1e-7,
    )


def test_without_a_cluster_the_representative_is_the_mean_of_all() -> None:
    vectors = torch.eye(20)[:14]
    torch.testing.assert_close(representative_vector(vectors), representative_vector(vectors, "mean"))
    assert_parity(representative_vector(vectors), oracle.representative_vector(np.eye(20)[:14]), within=1e-7)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_what_is_no_list_of_vectors_has_no_representative(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected vectors \(M, C\)"):
        representative_vector(torch.zeros(shape))


# -------------------------------------------------------------------------------------- dual path


@pytest.mark.parametrize("size", [tiny.IMAGE_SIZE, tiny.RESIZED])
@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_both_paths_are_the_oracles(files: tiny.LivelyClip, activation: str, size: int) -> None:
    encoder = core.load_encoder(
        str(files.config), weights=files.weights, activation=activation, image_size=size, device="cpu"
    )
    exact, pixels = pixels_of(2, size)
    ours, expected = (
        walk(encoder, pixels),
        oracle.dual_path(load_clip(files.config, files.weights, activation=activation), exact),
    )
    assert ours.grid == (size // 4, size // 4)
    for name in ("original", "surgery", "features"):
        for stage, its in zip(getattr(ours, name), getattr(expected, name), strict=True):
            assert_parity(stage, its)


def test_the_original_path_is_the_encoders_to_the_bit(encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    paths, features = walk(encoder, pixels), encoder(pixels)
    for ours, ordinary in zip(paths.original, features.stages, strict=True):
        assert torch.equal(ours[:, 1:], ordinary)
    torch.testing.assert_close(paths.features[-1][:, 0], features.image, rtol=0, atol=1e-6)


def test_the_class_token_is_open_clips_too(encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    with torch.inference_mode():
        theirs = encoder.tower.forward_intermediates(
            pixels, indices=[1, 3, 5, 7], output_fmt="NLC", output_extra_tokens=True
        )
    paths = walk(encoder, pixels)
    for ours, surgery, prefix in zip(
        paths.original, paths.surgery, theirs["image_intermediates_prefix"], strict=True
    ):
        assert torch.equal(ours[:, :1], prefix)
        assert torch.equal(surgery[:, :1], prefix)


def test_the_encoder_gives_the_same_bits_before_between_and_after(encoder: core.Encoder) -> None:
    _, pixels = pixels_of()
    modules, state = list(encoder.tower.modules()), {k: v.clone() for k, v in encoder.tower.state_dict().items()}
    forwards = [module.__dict__.get("forward") for module in modules]
    passes = [encoder(pixels)]
    walks = []
    for _ in range(2):
        walks.append(walk(encoder, pixels))
        passes.append(encoder(pixels))
    for later in passes[1:]:
        assert all(map(torch.equal, passes[0].stages, later.stages))
        assert torch.equal(passes[0].image, later.image)
    assert all(map(torch.equal, walks[0].features, walks[1].features))
    assert [*map(id, encoder.tower.modules())] == [*map(id, modules)]
    assert [module.__dict__.get("forward") for module in modules] == forwards
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.tower.state_dict().items())


def test_a_stage_between_two_resets_holds_what_was_gathered_since_the_first(encoder: core.Encoder) -> None:
    _, pixels = pixels_of(1)
    early, late = dual_path(encoder.tower, pixels, (3, 4)).surgery
    assert torch.equal(late, walk(encoder, pixels).surgery[1])
    assert (early[:, 1:] - late[:, 1:]).abs().max() > SHOWS


@pytest.mark.parametrize("stages", [(), (0, 2), (4, 2), (2, 2), (8, 9)])
def test_stages_that_the_tower_lacks_are_refused(encoder: core.Encoder, stages: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError, match=r"stages from 1 to 8, got \["):
        dual_path(encoder.tower, pixels_of(1)[1], stages)


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
    scaled = vit_tower(ls_init_value=0.5).eval()
    folded = vit_tower().eval()
    state = {name: tensor for name, tensor in scaled.state_dict().items() if "ls_" not in name}
    for name in [name for name in state if "out_proj" in name or "c_proj" in name]:
        state[name] = 0.5 * state[name]
    folded.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32)
    ours, same = (dual_path(tower, pixels, (1, 2, 3, 4)) for tower in (scaled, folded))
    for mine, its in zip(ours.features, same.features, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------------------- maps


def test_every_stages_surgery_map_is_the_oracles(encoder: core.Encoder, clip: Clip, text: Floats) -> None:
    exact, pixels = pixels_of()
    paths, expected = walk(encoder, pixels), oracle.dual_path(clip, exact)
    for features, its in zip(paths.features, expected.features, strict=True):
        ours = feature_surgery_map(features, torch.from_numpy(text).float())
        assert_parity(ours, oracle.surgery_similarity(its, text))


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_the_sdp_map_is_the_oracles(encoder: core.Encoder, clip: Clip, text: Floats, sigma: float) -> None:
    exact, pixels = pixels_of()
    ours = sdp_map(walk(encoder, pixels), torch.from_numpy(text).float(), size=32, sigma=sigma)
    assert_parity(ours, oracle.sdp_map(clip, exact, text, sigma=sigma))


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_the_sdp_plus_map_is_the_oracles(encoder: core.Encoder, clip: Clip, text: Floats, sigma: float) -> None:
    exact, pixels = pixels_of()
    words, linears = torch.from_numpy(text).float(), torch_linears()
    ours = sdp_plus_map(walk(encoder, pixels), words, linears, size=32, sigma=sigma)
    assert_parity(ours, oracle.sdp_plus_map(clip, exact, text, tiny.lively_linears(), sigma=sigma))


def test_the_whole_of_sdp_from_sentences_to_map_is_the_oracles(
    encoder: core.Encoder, clip: Clip, embed: Callable[[Sequence[str]], torch.Tensor]
) -> None:
    exact, pixels = pixels_of()
    ours = sdp_map(walk(encoder, pixels), clip_ad_text_features(embed, "metal_nut"), size=32)
    assert_parity(ours, oracle.sdp_map(clip, exact, oracle.text_features(clip, "metal_nut", tiny.tokenize)))


@pytest.mark.parametrize("name", oracle.MUTANTS)
def test_a_mutant_of_sdp_cannot_pass_for_the_method(clip: Clip, text: Floats, name: str) -> None:
    exact, _ = pixels_of()
    mutant = oracle.sdp_map(clip, exact, text, variant=oracle.MUTANTS[name])
    assert np.abs(mutant - oracle.sdp_map(clip, exact, text)).max() > SHOWS


@pytest.mark.parametrize("name", [*oracle.MUTANTS, *oracle.PLUS_MUTANTS])
def test_a_mutant_of_sdp_plus_cannot_pass_for_the_method(clip: Clip, text: Floats, name: str) -> None:
    exact, _ = pixels_of()
    variant, linears = {**oracle.MUTANTS, **oracle.PLUS_MUTANTS}[name], tiny.lively_linears()
    mutant = oracle.sdp_plus_map(clip, exact, text, linears, sigma=2.0, variant=variant)
    assert np.abs(mutant - oracle.sdp_plus_map(clip, exact, text, linears, sigma=2.0)).max() > SHOWS


def test_a_picture_alone_has_the_map_that_it_has_in_company(encoder: core.Encoder, text: Floats) -> None:
    _, pixels = pixels_of(5)
    words, linears = torch.from_numpy(text).float(), torch_linears()
    together = sdp_plus_map(walk(encoder, pixels), words, linears, size=32)
    for order in ([3], [4, 1], [2, 0, 4]):
        apart = sdp_plus_map(walk(encoder, pixels[order]), words, linears, size=32)
        torch.testing.assert_close(apart, together[order], rtol=0, atol=1e-5)


def test_bfloat16_gives_nearly_the_same_maps_in_the_same_order(
    files: tiny.LivelyClip, encoder: core.Encoder, text: Floats
) -> None:
    coarse = core.load_encoder(str(files.config), weights=files.weights, device="cpu", precision="bfloat16")
    _, pixels = pixels_of()
    words = torch.from_numpy(text).float()
    full, half = (sdp_map(walk(one, pixels), words, size=32) for one in (encoder, coarse))
    torch.testing.assert_close(half, full, rtol=0, atol=2e-2)
    assert half.amax(dim=(1, 2)).argsort().tolist() == full.amax(dim=(1, 2)).argsort().tolist()


def test_text_features_of_another_width_are_refused(encoder: core.Encoder) -> None:
    paths = walk(encoder, pixels_of(1)[1])
    with pytest.raises(ValueError, match=r"expected text features \(2, 16\), got \(2, 15\)"):
        sdp_map(paths, torch.zeros(2, 15), size=32)


def test_a_missing_linear_layer_is_refused(encoder: core.Encoder, text: Floats) -> None:
    paths = walk(encoder, pixels_of(1)[1])
    with pytest.raises(ValueError, match="shorter"):
        sdp_plus_map(paths, torch.from_numpy(text).float(), torch_linears()[:-1], size=32)


# ------------------------------------------------------------------------------------------- blur


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
