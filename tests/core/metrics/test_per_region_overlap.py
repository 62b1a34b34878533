"""PRO in its two forms, on curves small enough to draw by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.per_region_overlap import area_up_to, largest_float32_up_to, region_sizes
from tests.core.metrics.pixel_rig import assert_alike, brute_force, measured


def test_pixels_that_touch_at_a_corner_are_one_region():
    count, sizes = region_sizes(np.array([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], dtype=bool))
    assert count == 2
    assert sizes.tolist() == [3, 2, 2, 3, 3]


def test_a_mask_without_a_defect_has_no_region():
    count, sizes = region_sizes(np.zeros((3, 3), dtype=bool))
    assert (count, len(sizes)) == (0, 0)


def test_a_region_counts_alike_whatever_its_size(tmp_path):
    mask = np.array([[1, 1, 1, 1, 0, 1, 0, 0]], dtype=bool)
    found = measured([np.array([[9, 9, 9, 9, 2, 1, 0, 0]], dtype=float)], [mask], tmp_path)
    # The large region is found at once, the small one after a third of the good pixels: flat at a half to 0.3.
    assert found.pro == pytest.approx(0.5, abs=1e-12)


def test_the_limit_cuts_the_line_that_a_tie_makes(tmp_path):
    mask = np.array([[1, 0, 0]], dtype=bool)
    found = measured([np.array([[1.0, 1.0, 0.0]])], [mask], tmp_path)
    # From (0, 0) straight to (1/2, 1): at 0.3 the line has come to 0.6.
    assert found.pro == pytest.approx(0.3, abs=1e-12)


def test_a_defect_above_a_good_pixel_is_found_before_it_and_one_below_after_it(tmp_path):
    mask = np.array([[1, 0, 1, *[0] * 9]], dtype=bool)
    found = measured([np.array([[3.0, 2.0, 1.0, *[0.0] * 9]])], [mask], tmp_path)
    # Up to a half, level to one false alarm in ten, up to one.
    assert found.pro == pytest.approx((0.1 * 0.5 + 0.2 * 1.0) / 0.3, abs=1e-12)


@pytest.mark.parametrize(
    ("limit", "area"), [(0.0, 0.0), (0.5, 0.125), (1.0, 0.5), (1.5, 0.5 + 0.75), (3.0, 0.5 + 1.5 + 2.0)]
)
def test_the_area_is_that_of_the_lines_left_of_the_limit(limit, area):
    x, y = np.array([0.0, 1.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.5, 1.5, 2.5])
    assert area_up_to(limit, x, y) == pytest.approx(area, abs=1e-12)


def test_the_reference_form_detects_strictly_above_its_first_threshold_the_least_score(tmp_path):
    # Scores 0 to 200: step k finds the scores above k, so the least score is never found.
    scores = np.concatenate([np.arange(201.0), [150.0, 200.0]])[None]
    mask = np.arange(203)[None] > 200
    found = measured([scores], [mask], tmp_path)
    assert found.pro_cflow200 == pytest.approx((49 * 0.5 + 0.75 + 9 * 1.0) / 59, abs=1e-12)
    assert_alike(found, brute_force([scores], [mask]))


@pytest.mark.parametrize("rates_below", [1, 2])
def test_the_reference_form_takes_two_different_rates(tmp_path, rates_below):
    # Good scores 0 (three quarters) and, for two rates, one at the middle: above zero, one in eight or none.
    good = np.array([0.0] * 7 + [0.5 if rates_below == 2 else 0.0])
    scores, mask = np.append(good, 1.0)[None], (np.arange(9) == 8)[None]
    assert (measured([scores], [mask], tmp_path).pro_cflow200 is None) == (rates_below == 1)


def test_the_reference_form_leaves_out_a_rate_of_the_limit_itself(tmp_path):
    # Three good pixels in ten lie above the first threshold, where both regions are found; then at most two.
    scores = np.array([[0.5, 0.8, 1.0, 0.6, 0.4, *[0.0] * 7]])
    mask = np.isin(np.arange(12), (0, 2))[None]
    assert measured([scores], [mask], tmp_path).pro_cflow200 == pytest.approx(0.5, abs=1e-12)


@given(st.floats(-1e30, 1e30), st.floats(-(2.0**99), 2.0**99, width=32))
def test_a_float32_score_exceeds_a_threshold_or_neither_it_nor_the_float32_below_it(threshold, score):
    below = largest_float32_up_to(np.array([threshold]))[0]
    assert (score > threshold) == (np.float32(score) > below)
