"""The brute-force metrics agree with scikit-learn and with cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from tests.core.oracle import metrics_numpy as metrics
from tests.core.oracle.arrays import Floats


def labelled_scores(*, ties: bool) -> tuple[metrics.Labels, Floats]:
    random = np.random.default_rng(0)
    labels = random.random(200) < 0.3
    scores = random.standard_normal(200) + labels
    return labels, np.round(scores) if ties else scores


def one_image(mask: list[list[int]], scores: list[list[float]]) -> tuple[list[metrics.Labels], list[Floats]]:
    return [np.array(mask, dtype=bool)], [np.array(scores)]


@pytest.mark.parametrize("ties", [True, False])
def test_the_threshold_metrics_are_scikit_learns(ties: bool) -> None:
    labels, scores = labelled_scores(ties=ties)
    precision, recall, _ = precision_recall_curve(labels, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert metrics.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    assert metrics.f1_max(labels, scores) == pytest.approx(best, abs=1e-12)


def test_a_perfect_map_overlaps_fully_before_the_first_false_alarm() -> None:
    masks, maps = one_image([[1, 1, 0, 0]], [[0.9, 0.8, 0.2, 0.1]])
    assert metrics.pro(masks, maps) == pytest.approx(1.0)


def test_regions_count_alike_whatever_their_size_and_diagonal_pixels_are_one_region() -> None:
    mask = [[1, 0, 0, 1, 1], [0, 1, 0, 1, 1]]
    scores = [[3.0, 0.0, 0.0, 1.0, 1.0], [0.0, 3.0, 0.0, 1.0, 1.0]]
    assert metrics.pro(*one_image(mask, scores)) == pytest.approx(1.0)
    missed = [[3.0, 0.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0, 0.0]]
    assert metrics.pro(*one_image(mask, missed)) == pytest.approx((0.5 + 0.65) / 2)


def test_the_exact_overlap_cuts_a_straight_line_at_the_limit() -> None:
    masks, maps = one_image([[1, 1, 0, 0]], [[4.0, 1.0, 3.0, 2.0]])
    # Points (0, 0) (0, 1/2) (1/2, 1/2) ...: flat at a half up to the limit of 0.3.
    assert metrics.pro(masks, maps) == pytest.approx(0.5)
    assert metrics.pro(masks, maps, limit=1.0) == pytest.approx(0.5)


def test_the_exact_overlap_ignores_the_scores_scale_and_the_reference_form_does_not() -> None:
    random = np.random.default_rng(1)
    masks = [np.zeros((16, 16), dtype=bool) for _ in range(2)]
    masks[0][2:6, 3:9] = masks[1][10:12, 10:15] = True
    maps = [random.standard_normal((16, 16)) + mask for mask in masks]
    bent = [np.exp(3 * m) for m in maps]
    assert metrics.pro(masks, bent) == pytest.approx(metrics.pro(masks, maps), abs=1e-12)
    assert abs(metrics.pro_cflow200(masks, bent) - metrics.pro_cflow200(masks, maps)) > 1e-3


def test_the_reference_form_stretches_the_kept_rates() -> None:
    # Good pixels 0, 1 ... 200, so step k is threshold k and finds 200 - k of 201; the region holds 150 and 200.
    scores = np.concatenate([np.arange(201.0), [150.0, 200.0]])[None]
    mask = np.arange(203)[None] > 200
    # Kept are 1 to 60 false alarms, stretched by 59; the overlap is 1/2 up to 50 of them and 1 from 51.
    assert metrics.pro_cflow200([mask], [scores]) == pytest.approx((49 * 0.5 + 0.75 + 9 * 1.0) / 59, abs=1e-12)


def test_the_reference_form_refuses_a_curve_of_one_point() -> None:
    with pytest.raises(ValueError, match="two different"):
        metrics.pro_cflow200([np.array([[True, False]])], [np.array([[0.0, 1.0]])])


def test_the_vand_score_is_a_mean_of_harmonic_means() -> None:
    assert metrics.vand_score([1.0, 0.5], [0.5, 0.0]) == pytest.approx((2 / 3 + 0.0) / 2)


def test_a_metric_without_both_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="defective and good"):
        metrics.auroc(np.array([True, True]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="defective and good"):
        metrics.f1_max(np.array([False, False]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="regions"):
        metrics.pro([np.zeros((2, 2), dtype=bool)], [np.ones((2, 2))])
