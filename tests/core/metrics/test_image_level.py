"""Figures of one score a picture: scikit-learn's, and what they are where there is nothing to rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MetricsError
from core.metrics import ImageFigures, image_figures
from tests.core.oracle import metrics_numpy as oracle

labelled = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40)


@given(labelled, st.sampled_from([np.float32, np.float64]))
def test_image_figures_are_the_brute_force_ones_ties_and_all(pairs, dtype):
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score for _, score in pairs], dtype=dtype) / 7
    figures = image_figures(labels, scores)
    if labels.all() or not labels.any():
        assert figures == ImageFigures(auroc=None, f1_max=None, ap=None)
        return
    assert figures.auroc == pytest.approx(oracle.auroc(labels, scores), abs=1e-9)
    assert figures.ap == pytest.approx(oracle.average_precision(labels, scores), abs=1e-9)
    assert figures.f1_max == pytest.approx(oracle.f1_max(labels, scores), abs=1e-9)


def test_pictures_that_all_score_alike_are_ranked_by_chance():
    figures = image_figures(np.array([True, False, False, False]), np.ones(4))
    assert figures == ImageFigures(auroc=0.5, f1_max=pytest.approx(2 * 0.25 / 1.25), ap=0.25)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_pictures_index(broken):
    with pytest.raises(MetricsError, match="picture 1 is"):
        image_figures(np.array([True, False]), np.array([0.5, broken]))


def test_labels_that_are_not_one_bool_a_score_are_a_programming_error():
    with pytest.raises(ValueError, match="bool labels"):
        image_figures(np.array([0, 1]), np.array([0.5, 0.6]))
    with pytest.raises(ValueError, match="bool labels"):
        image_figures(np.array([True]), np.array([0.5, 0.6]))
