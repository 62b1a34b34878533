""" "auto" takes bfloat16 where it is quicker and tells the same, and never otherwise."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

import core
import core.encoder
from core.device import choose_device
from core.precision import GAIN, NOISE, Trial, distance_noise, has_bfloat16_units, probe_picture, try_bfloat16


@pytest.mark.parametrize(
    ("noise", "gain", "chosen"),
    [
        (NOISE / 2, GAIN, torch.bfloat16),
        (NOISE, 3.0, torch.bfloat16),
        (NOISE * 1.01, 3.0, torch.float32),
        (0.0, GAIN - 0.01, torch.float32),
        (float("nan"), 3.0, torch.float32),
    ],
)
def test_bfloat16_is_taken_only_where_it_agrees_and_gains(noise, gain, chosen):
    trial = Trial(noise=noise, gain=gain)
    assert trial.chosen is chosen
    assert trial.reason.startswith(str(chosen).removeprefix("torch."))


@pytest.mark.parametrize(
    ("cpuinfo", "units"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 vaes\n", True),
        ("flags : fpu amx_tile amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("model name: avx512_bf16 fan\nflags : fpu avx512f avx512_vnni", False),
        ("", False),
    ],
)
def test_units_are_told_by_the_processors_flags_never_by_its_name(cpuinfo, units):
    assert has_bfloat16_units(cpuinfo) is units


def test_a_lite_in_bfloat16_is_found_to_tell_otherwise():
    plain = core.load_encoder("lite", device="cpu", precision="float32", words=False, image_size=192)
    fast = plain.in_precision(torch.bfloat16)
    assert (plain.precision, fast.precision, fast.id) == ("float32", "bfloat16", plain.id)
    trial = try_bfloat16(plain.encode, fast.encode, size=192)
    assert not trial.agrees
    assert trial.chosen is torch.float32


def test_the_same_features_have_no_noise_and_nan_is_no_agreement(tiny_scorer):
    features = tiny_scorer.encoder.encode([probe_picture(32)])
    assert distance_noise(features, features) == 0.0
    broken = replace(features, stages=(features.stages[0] * torch.nan, *features.stages[1:]))
    assert not Trial(noise=distance_noise(features, broken), gain=9.0).agrees


@pytest.mark.parametrize("noise", [0.001, 0.5])
def test_auto_says_loudly_what_it_took_and_computes_in_it(tiny_model, monkeypatch, caplog, noise):
    monkeypatch.setattr(core.encoder, "SMALL_PARAMETERS", 0)
    monkeypatch.setattr(core.encoder, "has_bfloat16_units", lambda: True)
    monkeypatch.setattr(core.encoder, "try_bfloat16", lambda *_, **__: Trial(noise=noise, gain=2.0))
    with caplog.at_level(logging.INFO, logger="core.encoder"):
        encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
    expected = "bfloat16" if noise < NOISE else "float32"
    assert encoder.precision == expected
    assert str(encoder.encode([probe_picture(32)]).stages[0].dtype) == f"torch.{expected}"
    assert f'"auto" took {expected}' in caplog.text


def test_auto_is_float32_where_there_are_no_units_or_nothing_to_gain(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr(core.encoder, "try_bfloat16", lambda *_, **__: pytest.fail("nothing to try"))
    for units in (False, True):
        monkeypatch.setattr(core.encoder, "has_bfloat16_units", lambda units=units: units)
        with caplog.at_level(logging.INFO, logger="core.encoder"):
            encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
        assert encoder.precision == "float32"
    assert "no units" in caplog.text
    assert "too small" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_says_what_it_took(caplog):
    with pytest.raises(core.DeviceError, match="usable GPUs here: 0"):
        choose_device("cuda")
    with caplog.at_level(logging.INFO, logger="core.device"):
        assert choose_device("auto").type == "cpu"
    assert '"auto" took cpu' in caplog.text
