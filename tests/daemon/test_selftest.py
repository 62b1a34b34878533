"""A bank meets another arithmetic than it was calibrated in: taken with a warning, or refused by its golden."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

import core
from daemon.selftest import SelfTest
from tests.pictures import samples


def other_arithmetic(scorer: core.Scorer) -> tuple[core.Scorer, SelfTest]:
    """The same scorer in bfloat16, and the self-test of its worker."""
    encoder = scorer.encoder.in_precision(torch.bfloat16)
    fast = core.Scorer(encoder)
    return fast, SelfTest(scorer=fast, device=encoder.device, precision=encoder.precision)


def test_a_tower_that_bfloat16_leaves_alone_takes_a_float32_bank_and_says_so(
    tiny_scorer: core.Scorer, caplog: pytest.LogCaptureFixture
):
    bank = core.enrol(tiny_scorer, samples(6), product="cloth").bank
    fast, selftest = other_arithmetic(tiny_scorer)
    with caplog.at_level(logging.WARNING, logger="core.scorer"):
        prepared = fast.prepare(bank)
    assert "calibrated on cpu in float32 and scores on cpu in bfloat16" in caplog.text
    assert selftest.error(prepared) is None
    caplog.clear()
    tiny_scorer.prepare(bank)
    assert not caplog.text


def test_a_golden_score_that_another_arithmetic_moved_too_far_is_refused(tiny_scorer: core.Scorer):
    bank = core.enrol(tiny_scorer, samples(6), product="cloth").bank
    moved = replace(bank.header, golden_score=2 * (bank.header.golden_score or 0.0) + 10.0)
    fast, selftest = other_arithmetic(tiny_scorer)
    error = selftest.error(fast.prepare(replace(bank, header=moved)))
    assert error is not None
    assert "(cpu, float32)" in error
    assert "(cpu, bfloat16)" in error
