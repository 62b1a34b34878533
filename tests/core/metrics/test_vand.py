"""The VAND challenge's score."""

from __future__ import annotations

import pytest

from core.metrics import vand_score
from tests.core.oracle import metrics_numpy as oracle


def test_it_is_the_mean_of_the_harmonic_means():
    pairs = [(1.0, 0.5), (0.9, 0.3), (0.5, 0.0), (0.0, 0.0)]
    assert vand_score(pairs) == pytest.approx(oracle.vand_score(*zip(*pairs, strict=True)), abs=1e-12)


def test_a_class_without_one_of_the_two_is_left_out_not_counted_as_nothing():
    assert vand_score([(1.0, 0.5), (None, 0.9), (0.9, None)]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("pairs", [[], [(None, 0.5)]])
def test_without_a_class_that_has_both_there_is_no_score(pairs):
    assert vand_score(pairs) is None
