"""`score` refuses bad models, linear layers, names and references before it scores: exit code 1, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters import write_adapter, write_reference_adapter
from tests.core.oracle import tiny
from tests.core.oracle.april_gan_numpy import Linear
from tests.daemon.admin.conftest import Answer, Installation
from tests.tiny import TinyModel

Admin = Callable[..., Answer]
WEAVE = (48, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny.LivelyClip:
    return tiny.lively_tiny_clip(tmp_path_factory.mktemp("lively"))


@pytest.fixture
def refused(
    admin: Admin, installation: Installation, files: tiny.LivelyClip, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run `score` with everything right but what is given: the error, after the checks that each case shares."""
    out = tmp_path / "out.npz"

    def run(**options: object) -> str:
        named = {
            "model": files.config,
            "weights": files.weights,
            "adapter": write_adapter(tmp_path / "right.safetensors", tiny.lively_linears()),
            "method": "april-gan",
            "object": "metal nut",
            "save-maps": out,
            **options,
        }
        arguments = [part for name, value in named.items() if value is not None for part in (f"--{name}", value)]
        answer = admin("score", *arguments, installation.bad)
        assert answer.code == 1, answer
        assert answer.out == ""
        assert len(answer.err.splitlines()) == 1, answer.err
        return answer.err

    yield run
    assert not out.exists()


# --------------------------------------------------------------------------------------- weights


def test_weights_of_another_model(refused: Callable[..., str], tiny_model: TinyModel) -> None:
    error = refused(weights=tiny_model.weights)
    assert "tiny-clip.safetensors" in error
    assert "fit" in error


def test_a_missing_weights_file(refused: Callable[..., str]) -> None:
    assert "no weights file missing.safetensors" in refused(weights="missing.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_weights_cut_short(
    refused: Callable[..., str], files: tiny.LivelyClip, tmp_path: Path, suffix: str, part: float
) -> None:
    whole = tmp_path / f"whole{suffix}"
    state = load_file(files.weights)
    save_file(state, whole) if suffix == ".safetensors" else torch.save(state, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    assert cut.name in refused(weights=cut)


class Payload:
    """What pickle would run on loading."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("option", ["weights", "adapter"])
@pytest.mark.parametrize("name", ["trained.pth", "trained.pt"])
def test_a_checkpoint_with_code_in_it_which_is_not_run(
    refused: Callable[..., str], tmp_path: Path, option: str, name: str
) -> None:
    proof = tmp_path / "proof"
    torch.save({"trainable_linearlayer": Payload(proof)}, tmp_path / name)
    error = refused(**{option: tmp_path / name}, activation="gelu")
    assert f"{name} holds more than tensors" in error
    assert not proof.exists()


@pytest.mark.parametrize("tensor", ["visual.transformer.resblocks.3.mlp.c_fc.weight", "text_projection"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_in_either_tower(
    refused: Callable[..., str], files: tiny.LivelyClip, tmp_path: Path, tensor: str, value: float
) -> None:
    state = load_file(files.weights)
    state[tensor].view(-1)[5] = value
    save_file(state, tmp_path / "broken.safetensors")
    error = refused(weights=tmp_path / "broken.safetensors")
    assert tensor in error
    assert "NaN or infinity" in error


# ---------------------------------------------------------------------------------------- model


def test_a_preset_that_there_is_not(refused: Callable[..., str]) -> None:
    assert "expected a preset (april-gan, sdp, lite)" in refused(model="resnet")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"vision_cfg": 3}', '{"vision_cfg": {}, "x": 1}'])
def test_a_config_that_is_none(refused: Callable[..., str], tmp_path: Path, content: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(content)
    assert "config" in refused(model=config)


@pytest.mark.parametrize("stages", ["2,4,6,9", "0,4,6,8", "4,2,6,8", "2,2,6,8"])
def test_stages_that_the_tower_lacks(refused: Callable[..., str], stages: str) -> None:
    assert "stages" in refused(stages=stages)


def test_an_image_size_that_the_patch_does_not_divide_and_those_that_it_does(refused: Callable[..., str]) -> None:
    error = refused(**{"image-size": 50})
    assert "patches of 4 pixels do not divide an image of 50" in error
    assert "take 48 or 52" in error


def test_layers_of_another_tower(refused: Callable[..., str]) -> None:
    error = refused(model="lite", weights=None, stages="4")
    assert "the adapter was trained for" in error
    assert "this encoder has" in error


def test_linear_layers_that_are_missing(refused: Callable[..., str]) -> None:
    assert "method april-gan takes linear layers" in refused(adapter=None)


# ---------------------------------------------------------------------------------------- adapter


def _narrow(linears: list[Linear]) -> list[Linear]:
    return [Linear(weight=linear.weight[:, :-1], bias=linear.bias) for linear in linears]


@pytest.mark.parametrize(
    ("layers", "header", "says"),
    [
        (tiny.lively_linears(), {"activation": "quickgelu"}, "activation quickgelu, this encoder has gelu"),
        (tiny.lively_linears(), {"stages": (1, 2, 3, 4)}, "stages [1, 2, 3, 4], this encoder has [2, 4, 6, 8]"),
        (tiny.lively_linears(3), {}, "3 stages, this encoder has 4 stages"),
        (_narrow(tiny.lively_linears()), {}, "width 31 at stage 2, this encoder gives 32"),
        (tiny.lively_linears(), {"tower_id": "gelu/0123"}, "tower gelu/0123, this encoder has gelu/"),
    ],
)
def test_linear_layers_of_another_encoder_with_both_sides_named(
    refused: Callable[..., str], tmp_path: Path, layers: list[Linear], header: dict[str, object], says: str
) -> None:
    path = write_adapter(tmp_path / "other.safetensors", layers, **header)  # type: ignore[arg-type]
    assert says in refused(adapter=path)


def test_a_reference_checkpoint_of_which_nobody_says_the_activation(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = write_reference_adapter(tmp_path / "visa.pth", tiny.lively_linears())
    assert "records no activation" in refused(adapter=path)


@pytest.mark.parametrize("name", ["layers.safetensors", "layers.pth"])
def test_linear_layers_cut_short(refused: Callable[..., str], tmp_path: Path, name: str) -> None:
    write = write_adapter if name.endswith(".safetensors") else write_reference_adapter
    path = write(tmp_path / name, tiny.lively_linears())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert name in refused(adapter=path, activation="gelu")


def test_linear_layers_that_are_no_numbers(refused: Callable[..., str], tmp_path: Path) -> None:
    linears = tiny.lively_linears()
    linears[2].weight[3, 4] = np.nan
    path = write_adapter(tmp_path / "layers.safetensors", linears)
    assert "layer 2 holds NaN" in refused(adapter=path)


# ---------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_object_name(refused: Callable[..., str], name: str) -> None:
    assert "in words" in refused(object=name)


# ---------------------------------------------------------------------------------------- references


def _write(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((1, 1, 3), np.uint8), "got 1x1"),
        (np.zeros((*WEAVE, 3), np.uint16), "16-bit colour"),
        (np.zeros(WEAVE, np.uint8), "8-bit grey"),
        (np.zeros(WEAVE, np.uint16), "16-bit grey"),
        (np.zeros((*WEAVE, 4), np.uint8), "8-bit colour with alpha"),
    ],
)
@pytest.mark.parametrize("mode", ["paper", "streaming"])
def test_a_reference_that_is_not_in_8_bit_colour(
    refused: Callable[..., str], tmp_path: Path, pixels: np.ndarray, says: str, mode: str
) -> None:
    error = refused(reference=_write(tmp_path / "odd.png", pixels), mode=mode)
    assert "odd.png" in error
    assert says in error


def test_a_grey_jpeg_as_reference(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "8-bit grey" in refused(reference=_write(tmp_path / "odd.jpg", np.zeros(WEAVE, np.uint8)))


def test_a_config_is_named_where_its_towers_cannot_be_built(refused: Callable[..., str], tmp_path: Path) -> None:
    config = json.loads(json.dumps(tiny.LIVELY_CONFIG))
    config["text_cfg"]["heads"] = 5  # which do not divide the width
    path = tmp_path / "odd-heads.json"
    path.write_text(json.dumps(config))
    assert "odd-heads" in refused(model=path)
