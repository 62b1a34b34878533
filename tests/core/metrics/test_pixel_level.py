"""Pixel figures: exact against brute force and scikit-learn, whatever the scores; stated answers for odd cases."""

from __future__ import annotations

import itertools
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from core.errors import MetricsError
from core.metrics import PixelAccumulator, PixelFigures
from core.metrics.pixel_level import NO_FIGURES
from tests.core.metrics.pixel_rig import assert_alike, brute_force, measured

SIZE = 6
TINY = float(np.finfo(np.float32).smallest_subnormal)
SCORES = {
    "few ties": st.floats(-1, 1, width=32),
    "many ties": st.integers(-2, 2).map(lambda n: n / 3),
    "one bucket": st.integers(0, 9).map(lambda n: 1.0 + n * 2.0**-20),
    "two neighbouring buckets": st.integers(-4, 4).map(lambda n: 1.0 + n * 2.0**-23),
    "every power of two": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: x / 4),
    "zeros and denormals": st.sampled_from([-TINY, -0.0, 0.0, TINY, 2 * TINY]),
}


def pictures(scores: st.SearchStrategy[float]):
    picture = st.tuples(
        arrays(np.float32, (SIZE, SIZE), elements=scores.map(lambda x: float(np.float32(x)))),
        arrays(np.bool_, (SIZE, SIZE), elements=st.sampled_from([False, False, True]), fill=st.just(False)),
    )
    return st.lists(picture, min_size=1, max_size=3)


@pytest.mark.parametrize("kind", SCORES)
@settings(max_examples=12)
@given(data=st.data(), block=st.sampled_from([20, 1000]), chunk=st.sampled_from([1, 5, 1000]))
def test_all_five_figures_are_the_brute_force_ones(tmp_path_factory, kind, data, block, chunk):
    maps, masks = zip(*data.draw(pictures(SCORES[kind])), strict=True)
    assume(any(mask.any() for mask in masks) and not all(mask.all() for mask in masks))
    found = measured(maps, masks, tmp_path_factory.getbasetemp(), block=block, chunk=chunk)
    assert_alike(found, brute_force(maps, masks))


def test_smooth_maps_of_many_pictures_have_scikit_learns_figures(tmp_path, rng):
    maps, masks = zip(*(smooth_picture(rng, defective=index % 2 == 0) for index in range(60)), strict=True)
    found = measured(maps, masks, tmp_path, block=10_000, chunk=1_000)
    labels, scores = np.stack(masks).ravel(), np.stack(maps).ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert found.ap == pytest.approx(average_precision_score(labels, scores), abs=1e-9)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    assert found.f1_max == pytest.approx(best, abs=1e-9)


def test_the_order_and_the_grouping_of_pictures_do_not_matter(tmp_path, rng):
    drawn = [smooth_picture(rng, defective=index % 2 == 0) for index in range(6)]
    figures = [
        measured(*zip(*order, strict=True), tmp_path, block=block)
        for order, block in ((drawn, 10_000), (drawn[::-1], 777), (drawn[3:] + drawn[:3], 4_096))
    ]
    for other in figures[1:]:
        assert_alike(other, figures[0])


def test_figures_may_be_asked_again_and_more_maps_follow(tmp_path, rng):
    drawn = [smooth_picture(rng, defective=True) for _ in range(4)]
    with PixelAccumulator(tmp_path) as accumulator:
        for map, mask in drawn[:2]:
            accumulator.add(map, mask)
        half = accumulator.figures()
        assert accumulator.figures() == half
        for map, mask in drawn[2:]:
            accumulator.add(map, mask)
        whole = accumulator.figures()
    assert_alike(half, measured(*zip(*drawn[:2], strict=True), tmp_path))
    assert_alike(whole, measured(*zip(*drawn, strict=True), tmp_path))


def test_pictures_may_differ_in_size(tmp_path, rng):
    masks = [np.eye(4, dtype=bool), np.zeros((2, 9), dtype=bool)]
    maps = [rng.standard_normal(mask.shape) for mask in masks]
    assert_alike(measured(maps, masks, tmp_path), brute_force(maps, masks))


def test_a_constant_map_tells_nothing_and_says_so(tmp_path):
    mask = np.zeros((4, 5), dtype=bool)
    mask[0, :4] = True
    found = measured([np.full((4, 5), 0.25)], [mask], tmp_path)
    # One threshold finds all: PRO is the triangle under the diagonal up to 0.3.
    expected = {"auroc": 0.5, "ap": 0.2, "f1_max": 2 * 0.2 / 1.2, "pro": 0.15}
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.pro_cflow200 is None


@pytest.mark.parametrize("masks", [[], [np.zeros((3, 3))], [np.ones((3, 3))], [np.zeros((0, 3))]])
def test_without_good_or_defective_pixels_there_are_no_figures(masks, tmp_path, rng):
    assert measured([rng.standard_normal(mask.shape) for mask in masks], masks, tmp_path) == NO_FIGURES


def test_a_perfect_map_has_every_figure_at_one(tmp_path):
    mask = np.zeros((20, 20), dtype=bool)
    mask[3:6, 3:6] = mask[10:18, 4:9] = True
    found = measured([np.where(mask, 300.0, np.arange(400.0).reshape(20, 20) / 2)], [mask], tmp_path)
    ones = PixelFigures(auroc=1.0, f1_max=1.0, ap=1.0, pro=1.0, pro_cflow200=1.0)
    assert_alike(found, ones)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_refused_with_its_index_and_leaves_no_trace(tmp_path, rng, broken):
    map, mask = smooth_picture(rng, defective=True)
    spoilt = map.copy()
    spoilt[5, 5] = broken
    with PixelAccumulator(tmp_path) as accumulator:
        accumulator.add(map, mask)
        with pytest.raises(MetricsError, match="picture 1 "):
            accumulator.add(spoilt, mask)
        assert_alike(accumulator.figures(), measured([map], [mask], tmp_path))


@pytest.mark.parametrize(
    ("map", "mask"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3), bool)),
        (np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8)),
        (np.zeros((3, 3), np.float32), np.zeros((3, 4), bool)),
        (np.zeros(9, np.float32), np.zeros(9, bool)),
    ],
)
def test_arrays_of_the_wrong_kind_are_a_programming_error(tmp_path, map, mask):
    with PixelAccumulator(tmp_path) as accumulator, pytest.raises(ValueError, match="of one shape"):
        accumulator.add(map, mask)


def test_memory_stays_below_the_stated_bound_and_does_not_grow_with_the_pictures(tmp_path):
    peaks = [peak_memory(tmp_path, pictures=count) for count in (35, 70)]
    assert max(peaks) <= 100 * 2**20 + 32 * 518 * 518
    assert peaks[1] <= peaks[0] + 2**20


def peak_memory(spool, *, pictures: int) -> int:
    """Bytes at the peak of a life. Half of the pixels are defective: both spools fill, in one bucket."""
    mask = np.arange(518 * 518).reshape(518, 518) % 518 < 259
    map = np.zeros((518, 518), np.float32)
    tracemalloc.start()
    try:
        with PixelAccumulator(spool) as accumulator:
            for _ in range(pictures):
                accumulator.add(map, mask)
            accumulator.figures()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def smooth_picture(rng, *, defective: bool, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A map that is higher, not everywhere, on one or two discs."""
    mask = np.zeros((size, size), np.uint8)
    for _ in itertools.repeat(None, int(rng.integers(1, 3)) if defective else 0):
        centre = tuple(rng.integers(8, size - 8, 2).tolist())
        cv2.circle(mask, centre, int(rng.integers(2, 7)), 1, thickness=-1)
    noise = rng.gamma(4.0, 0.05, (size // 4, size // 4)).astype(np.float32)
    return cv2.resize(noise, (size, size)) + np.float32(0.15) * cv2.blur(mask.astype(np.float32), (7, 7)), mask > 0
