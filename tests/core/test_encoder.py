"""Encoders: tokens are the tower's own, and what cannot be built says why before any scoring."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import core
from core.preprocess import squash
from tests.pictures import weave


def test_stage_tokens_are_the_residual_stream_after_the_named_block(tiny_model, tiny_scorer):
    encoder = tiny_scorer.encoder
    pixels = encoder.preprocess([weave(0), weave(1)])
    visual = encoder.tower
    with torch.inference_mode():
        x = visual._embeds(pixels)
        after = []
        for block in visual.transformer.resblocks:
            x = block(x)
            after.append(x[:, 1:])
        features = encoder(pixels)
    assert encoder.stages == (1, 2, 3, 4)
    for tokens, expected in zip(features.stages, after, strict=True):
        torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


def test_the_image_embedding_is_open_clips_own(tiny_model, tiny_scorer):
    config = json.loads(tiny_model.config.read_text())
    model = open_clip.CLIP(**config).eval()
    model.load_state_dict(load_file(tiny_model.weights))
    pixels = tiny_scorer.encoder.preprocess([weave(0)])
    with torch.inference_mode():
        expected = model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(tiny_scorer.encoder(pixels).image, expected, atol=1e-5, rtol=0)


def test_the_packaged_lite_tower_knows_its_pictures():
    encoder = core.load_encoder("lite", device="cpu", image_size=128, stages=(4, 5))
    assert encoder.stage_shapes == ((8, 8, 112), (4, 4, 320))
    features = encoder.encode([weave(0), weave(0, hole=True), weave(0)])
    alike = torch.nn.functional.cosine_similarity(*features.stages[1][[0, 2]].flatten(1)[:, None].unbind(0))
    unlike = torch.nn.functional.cosine_similarity(*features.stages[1][[0, 1]].flatten(1)[:, None].unbind(0))
    assert float(alike) > 0.999 > float(unlike)


@pytest.mark.parametrize("size", [(48, 64), (300, 200), (32, 32)])
def test_squashing_agrees_with_pillows_bicubic_within_two_levels(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = squash(picture, size=96, device=torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(Image.fromarray(picture).resize((96, 96), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_the_activation_changes_the_function_and_so_the_encoders_name(tiny_model):
    gelu, quick = (
        core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, activation=activation)
        for activation in ("gelu", "quickgelu")
    )
    difference = gelu.encode([weave(0)]).stages[-1] - quick.encode([weave(0)]).stages[-1]
    assert float(difference.abs().max()) > 1e-4
    assert gelu.id != quick.id


def test_other_weights_give_another_name(tiny_model, tmp_path):
    state = load_file(tiny_model.weights)
    state["visual.conv1.weight"] = state["visual.conv1.weight"] + 0.01
    save_file(state, tmp_path / "other.safetensors")
    ids = {
        core.load_encoder(str(tiny_model.config), weights=path).id
        for path in (tiny_model.weights, tmp_path / "other.safetensors")
    }
    assert len(ids) == 2


def test_a_larger_image_resizes_the_position_embedding(tiny_model):
    encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, image_size=40)
    assert encoder.stage_shapes[0] == (10, 10, 32)


def bad_weights(folder, state):
    cut = folder / "cut.safetensors"
    save_file(state, cut)
    cut.write_bytes(cut.read_bytes()[:-100])
    missing = folder / "missing.safetensors"
    save_file({name: t for name, t in state.items() if name != "visual.proj"}, missing)
    shape = folder / "shape.safetensors"
    save_file({**state, "visual.proj": torch.zeros(3, 3)}, shape)
    nan = folder / "nan.safetensors"
    save_file({**state, "visual.proj": state["visual.proj"] * torch.nan}, nan)
    code = folder / "code.pt"
    torch.save({"state": open_clip.CLIP}, code)
    text = folder / "text.pt"
    text.write_text("not a state dict")
    return {
        "cut": cut,
        "missing": missing,
        "shape": shape,
        "nan": nan,
        "code": code,
        "text": text,
        "absent": folder / "absent.pt",
    }


@pytest.mark.parametrize("case", ["cut", "missing", "shape", "nan", "code", "text", "absent"])
def test_weights_that_do_not_fit_are_refused_by_name(tiny_model, tmp_path, case):
    path = bad_weights(tmp_path, load_file(tiny_model.weights))[case]
    with pytest.raises(core.WeightsError, match="NaN" if case == "nan" else case):
        core.load_encoder(str(tiny_model.config), weights=path)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_array_files_that_may_lack_weights_are_refused(tiny_model, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"whatever is in it")
    with pytest.raises(core.WeightsError, match=r"expected a state dict as \.safetensors or \.pt, got weights"):
        core.load_encoder(str(tiny_model.config), weights=path)


def test_pretrained_weights_that_cannot_be_had_say_which_file_to_bring():
    with pytest.raises(core.WeightsError, match=r"ViT-L-14-336/openai.*\[model\] weights"):
        core.load_encoder("april-gan")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": (2, 9)}, "stages 1 to 4, asked for"),
        ({"stages": ()}, "ascending"),
        ({"stages": (0, 1)}, "1-based"),
        ({"stages": (2, 1)}, "ascending"),
        ({"image_size": 33}, "do not divide an image of 33; take 32 or 36"),
    ],
)
def test_an_encoder_that_cannot_be_built_as_asked_says_why(tiny_model, options, words):
    with pytest.raises(core.EncoderError, match=words):
        core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, **options)


def test_a_cnn_without_the_stage_says_so():
    with pytest.raises(core.EncoderError, match=r"no stages \[4, 7\]"):
        core.load_encoder("lite", stages=(4, 7), image_size=64)


@pytest.mark.parametrize("preset", ["nonsense", "missing.json"])
def test_an_unknown_preset_is_refused(preset):
    with pytest.raises(core.EncoderError):
        core.load_encoder(preset)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "nonsense"])
def test_a_device_that_is_not_there_is_an_error_never_a_silent_fallback(device, tiny_model):
    with pytest.raises(core.DeviceError):
        core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device=device)
