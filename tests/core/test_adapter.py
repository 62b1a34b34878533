"""Linear layers as files: both forms come back as they were; what does not belong or is unsound is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import core
from core.adapter import AdapterHeader, adapter_to_bytes
from tests.core.april_gan_rig import (
    Layers,
    as_layers,
    header_for,
    load_encoder,
    pictures,
    project_file,
    reference_file,
)
from tests.core.oracle import tiny


@pytest.fixture(scope="module")
def encoder(lively_files) -> core.Encoder:
    return load_encoder(lively_files)


@pytest.fixture(scope="module")
def layers() -> Layers:
    return as_layers(tiny.lively_linears())


# -------------------------------------------------------------------------------------- round trip


def test_the_projects_form_comes_back_as_it_was_with_its_digest(encoder, layers, tmp_path):
    header = header_for(encoder)
    path = project_file(tmp_path, layers, header)
    adapter = core.load_adapter(path, activation="gelu")
    assert adapter.header == header
    assert adapter.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for (weight, bias), read_weight, read_bias in zip(layers, adapter.weights, adapter.biases, strict=True):
        assert torch.equal(weight, read_weight)
        assert torch.equal(bias, read_bias)


def test_the_same_layers_give_the_same_bytes(encoder, layers):
    header = header_for(encoder)
    assert adapter_to_bytes(header, layers) == adapter_to_bytes(header, layers)


def test_the_references_form_scores_to_the_bit_as_the_projects_own(encoder, layers, tmp_path):
    ours = core.load_adapter(project_file(tmp_path, layers, header_for(encoder)))
    theirs = core.load_adapter(reference_file(tmp_path, layers), activation="gelu", stages=encoder.stages)
    assert theirs.header == AdapterHeader(
        tower_id=None, activation="gelu", stages=encoder.stages, dataset=None, training={}
    )
    text = torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    maps = [
        core.inspect(
            core.Scorer(encoder, method="april-gan", adapter=adapter), pictures(2), mode="paper", text=text
        ).map
        for adapter in (ours, theirs)
    ]
    assert (maps[0] == maps[1]).all()


# ------------------------------------------------------------------------------ another's adapter


def narrower(layers: Layers) -> Layers:
    return [(weight[:, :-1].contiguous(), bias) for weight, bias in layers]


def lower(layers: Layers) -> Layers:
    return [(weight[:-1], bias[:-1]) for weight, bias in layers]


@pytest.mark.parametrize(
    ("changes", "reshape", "sides"),
    [
        ({"activation": "quickgelu"}, list, ("activation quickgelu", "has gelu")),
        ({"stages": (1, 2, 3, 4)}, list, ("stages [1, 2, 3, 4]", "has [2, 4, 6, 8]")),
        ({"tower_id": "gelu/0123456789abcdef"}, list, ("tower gelu/0123456789abcdef", "has gelu/")),
        ({}, lambda layers: layers[:3], ("layers for 3 stages", "has 4 stages")),
        ({}, narrower, ("tokens of width 31 at stage 2", "gives 32")),
        ({}, lower, ("vectors of width 15 at stage 2", "have 16")),
    ],
    ids=["activation", "stages", "tower", "number of layers", "token width", "text width"],
)
def test_an_adapter_of_another_encoder_is_refused_with_both_sides_named(
    encoder, layers, tmp_path, changes, reshape: Callable[[Layers], Layers], sides
):
    adapter = core.load_adapter(project_file(tmp_path, reshape(layers), header_for(encoder, **changes)))
    with pytest.raises(core.MismatchError) as refused:
        core.Scorer(encoder, method="april-gan", adapter=adapter)
    assert all(side in str(refused.value) for side in sides), str(refused.value)


def test_an_adapter_serves_the_same_tower_at_another_image_size(lively_files, encoder, layers, tmp_path):
    adapter = core.load_adapter(project_file(tmp_path, layers, header_for(encoder)))
    larger = load_encoder(lively_files, size=tiny.RESIZED)
    assert core.Scorer(larger, method="april-gan", adapter=adapter).adapter_sha256 == adapter.sha256


def test_asking_for_another_activation_than_the_files_own_is_refused(encoder, layers, tmp_path):
    with pytest.raises(core.MismatchError, match="trained on gelu features, quickgelu was asked for"):
        core.load_adapter(project_file(tmp_path, layers, header_for(encoder)), activation="quickgelu")


def test_the_references_form_without_an_activation_is_refused(layers, tmp_path):
    with pytest.raises(core.WeightsError, match="records no activation"):
        core.load_adapter(reference_file(tmp_path, layers))


@pytest.mark.parametrize(("method", "words"), [("april-gan", "takes linear layers"), ("bank", "takes no linear")])
def test_a_method_is_refused_without_the_layers_it_takes_and_with_those_it_does_not(
    encoder, layers, tmp_path, method, words
):
    adapter = core.load_adapter(project_file(tmp_path, layers, header_for(encoder))) if method == "bank" else None
    with pytest.raises(core.EncoderError, match=words):
        core.Scorer(encoder, method=method, adapter=adapter)


# ------------------------------------------------------------------------------------ unsound files


class Code:
    """What a .pth could run when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("this must never run",))


def reference_files(layers: Layers) -> dict[str, object]:
    weight, bias = layers[0]
    return {
        "code": {"trainable_linearlayer": {"fc.0.weight": weight, "fc.0.bias": bias}, "extra": Code()},
        "a bare tensor": torch.zeros(3),
        "a list": [weight, bias],
        "another key": {"linears": {"fc.0.weight": weight, "fc.0.bias": bias}},
        "numbers for tensors": {"trainable_linearlayer": {"fc.0.weight": 1.0, "fc.0.bias": 2.0}},
        "no bias": {"trainable_linearlayer": {"fc.0.weight": weight}},
        "a gap": {"trainable_linearlayer": {"fc.1.weight": weight, "fc.1.bias": bias}},
        "a flat weight": {"trainable_linearlayer": {"fc.0.weight": weight[0], "fc.0.bias": bias}},
        "a short bias": {"trainable_linearlayer": {"fc.0.weight": weight, "fc.0.bias": bias[:3]}},
        "NaN": {"trainable_linearlayer": {"fc.0.weight": weight * torch.nan, "fc.0.bias": bias}},
        "infinity": {"trainable_linearlayer": {"fc.0.weight": weight, "fc.0.bias": bias / 0.0}},
    }


@pytest.mark.parametrize("case", reference_files([(torch.zeros(2, 2), torch.zeros(2))]))
def test_a_reference_file_that_is_not_layers_is_refused_by_name(layers, tmp_path, capsys, case):
    path = tmp_path / "broken.pth"
    torch.save(reference_files(layers)[case], path)
    with pytest.raises(core.WeightsError, match=r"broken\.pth"):
        core.load_adapter(path, activation="gelu")
    assert "must never run" not in capsys.readouterr().out


@pytest.mark.parametrize("keep", [0, 1, 3, 8, 100, -100])
@pytest.mark.parametrize("form", ["safetensors", "pth"])
def test_a_file_cut_short_is_refused_by_name(encoder, layers, tmp_path, form, keep):
    whole = (
        project_file(tmp_path, layers, header_for(encoder))
        if form == "safetensors"
        else reference_file(tmp_path, layers)
    )
    cut = tmp_path / f"cut.{form}"
    cut.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(core.WeightsError, match=r"cut\."):
        core.load_adapter(cut, activation="gelu")


@pytest.mark.parametrize("data", [b"abc", b"not layers", b"\x80\x02}q\x00.", b"PK\x03\x04 no archive"])
def test_a_file_that_was_never_layers_is_refused_by_name(tmp_path, data):
    path = tmp_path / "strange.pth"
    path.write_bytes(data)
    with pytest.raises(core.WeightsError, match=r"strange\.pth"):
        core.load_adapter(path, activation="gelu")


@pytest.mark.parametrize("spoil", ["nan", "foreign", "schema", "header"])
def test_a_safetensors_file_that_is_not_an_adapter_is_refused_by_name(encoder, layers, tmp_path, spoil):
    path = tmp_path / "spoilt.safetensors"
    data = adapter_to_bytes(header_for(encoder), layers)
    if spoil == "nan":
        weight, bias = layers[0]
        path.write_bytes(adapter_to_bytes(header_for(encoder), [(weight * torch.nan, bias)]))
    elif spoil == "foreign":
        save_file({"0.weight": layers[0][0], "0.bias": layers[0][1]}, path)
    elif spoil == "schema":
        path.write_bytes(data.replace(rb"\"schema\":1", rb"\"schema\":9"))
    else:
        path.write_bytes(data.replace(rb"\"dataset\"", rb"\"datum__\""))
    assert path.read_bytes() != data
    with pytest.raises(core.WeightsError, match=r"spoilt\.safetensors"):
        core.load_adapter(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(core.WeightsError, match=r"absent\.pth.*No such file"):
        core.load_adapter(tmp_path / "absent.pth", activation="gelu")
