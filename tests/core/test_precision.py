""" "auto" takes what is quicker than float32 and tells the same, and never anything else."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

import core
import core.encoder
from core.device import choose_device
from core.precision import (
    GAIN,
    NOISE,
    Trial,
    choose,
    distance_noise,
    has_units,
    probe_picture,
    reason,
    try_precisions,
)

BF16, INT8 = torch.bfloat16, torch.int8


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ({}, torch.float32),
        ({BF16: (NOISE / 2, GAIN)}, BF16),
        ({BF16: (NOISE, 3.0)}, BF16),
        ({BF16: (NOISE * 1.01, 3.0)}, torch.float32),
        ({BF16: (0.0, GAIN - 0.01)}, torch.float32),
        ({BF16: (float("nan"), 3.0)}, torch.float32),
        ({BF16: (0.003, 2.0), INT8: (0.004, 2.0 * GAIN)}, INT8),
        ({BF16: (0.003, 2.0), INT8: (0.004, 2.0 * GAIN - 0.01)}, BF16),
        ({BF16: (0.003, 2.0), INT8: (NOISE * 1.01, 9.0)}, BF16),
        ({BF16: (0.5, 2.0), INT8: (0.004, GAIN)}, INT8),
        ({BF16: (0.5, 2.0), INT8: (0.5, 9.0)}, torch.float32),
    ],
)
def test_the_coarsest_that_agrees_and_gains_over_the_finer_one_is_taken(trials, chosen):
    tried = {dtype: Trial(noise=noise, gain=gain) for dtype, (noise, gain) in trials.items()}
    assert choose(tried) is chosen
    assert reason(tried).startswith(str(chosen).removeprefix("torch."))


@pytest.mark.parametrize(
    ("cpuinfo", "bfloat16", "int8"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 avx512_vnni vaes\n", True, True),
        ("flags : fpu amx_tile amx_bf16", True, False),
        ("Features\t: fp asimd bf16 i8mm", True, False),
        ("model name: avx512_bf16 fan\nflags : fpu avx512f avx512_vnni", False, True),
        ("", False, False),
    ],
)
def test_units_are_told_by_the_processors_flags_never_by_its_name(cpuinfo, bfloat16, int8):
    assert has_units(BF16, cpuinfo) is bfloat16
    assert has_units(INT8, cpuinfo) is int8


def test_a_lite_in_bfloat16_is_found_to_tell_otherwise_and_has_no_8_bit_products():
    plain = core.load_encoder("lite", device="cpu", precision="float32", words=False, image_size=192)
    fast = plain.in_precision(BF16)
    assert (plain.precision, fast.precision, fast.id) == ("float32", "bfloat16", plain.id)
    trials = try_precisions(plain.encode, {BF16: fast.encode}, size=192)
    assert not trials[BF16].agrees
    assert choose(trials) is torch.float32
    assert INT8 not in plain.precisions_to_try()
    with pytest.raises(core.EncoderError, match="expected a plain vision transformer on a CPU"):
        plain.in_precision(INT8)


def test_a_picture_too_small_for_two_columns_of_tokens_cannot_be_compared_and_stays_in_float32(monkeypatch):
    monkeypatch.setattr(core.encoder, "has_units", lambda dtype: True)
    encoder = core.load_encoder("lite", device="cpu", image_size=32, words=True)
    assert (1, 1) in {shape[:2] for shape in encoder.stage_shapes}
    assert encoder.precision == "float32"


def test_the_same_features_have_no_noise_and_nan_is_no_agreement(tiny_scorer):
    features = tiny_scorer.encoder.encode([probe_picture(32)])
    assert distance_noise(features, features) == 0.0
    broken = replace(features, stages=(features.stages[0] * torch.nan, *features.stages[1:]))
    assert not Trial(noise=distance_noise(features, broken), gain=9.0).agrees


@pytest.mark.parametrize(("noise", "expected"), [(0.001, "int8"), (0.5, "float32")])
def test_auto_says_loudly_what_it_took_and_computes_in_it(tiny_model, monkeypatch, caplog, noise, expected):
    monkeypatch.setattr(core.encoder, "SMALL_PARAMETERS", 0)
    monkeypatch.setattr(core.encoder, "has_units", lambda dtype: True)
    tried = {BF16: Trial(noise=noise, gain=2.0), INT8: Trial(noise=noise, gain=4.0)}
    monkeypatch.setattr(core.encoder, "try_precisions", lambda *_, **__: tried)
    with caplog.at_level(logging.INFO, logger="core.encoder"):
        encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
    assert encoder.precision == expected
    tokens = "float32" if expected == "float32" else "bfloat16"
    assert str(encoder.encode([probe_picture(32)]).stages[0].dtype) == f"torch.{tokens}"
    assert f'"auto" took {expected}' in caplog.text


def test_auto_is_float32_where_there_are_no_units_or_nothing_to_gain(tiny_model, monkeypatch, caplog):
    monkeypatch.setattr(core.encoder, "try_precisions", lambda *_, **__: pytest.fail("nothing to try"))
    for units, small in ((False, 0), (True, 10**9)):
        monkeypatch.setattr(core.encoder, "has_units", lambda dtype, units=units: units)
        monkeypatch.setattr(core.encoder, "SMALL_PARAMETERS", small)
        with caplog.at_level(logging.INFO, logger="core.encoder"):
            encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
        assert encoder.precision == "float32"
    assert "no units" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_says_what_it_took(caplog):
    with pytest.raises(core.DeviceError, match="usable GPUs here: 0"):
        choose_device("cuda")
    with caplog.at_level(logging.INFO, logger="core.device"):
        assert choose_device("auto").type == "cpu"
    assert '"auto" took cpu' in caplog.text
