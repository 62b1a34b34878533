"""The scale of heatmaps: where colour begins is asked of pixels, where the outline begins of parts."""

from __future__ import annotations

import numpy as np
import pytest

from core.map_scale import map_scale


def good_maps(rng: np.random.Generator, count: int = 8) -> np.ndarray:
    return rng.normal(1.0, 0.1, (count, 64, 64)).astype(np.float32)


def test_few_pixels_of_a_good_part_are_warm_and_few_good_parts_are_outlined(rng: np.random.Generator) -> None:
    cold, hot = map_scale(good_maps(rng))
    fresh = good_maps(rng, 200)
    assert (fresh > cold).mean() < 0.01
    assert (fresh.max(axis=(1, 2)) > hot).mean() < 0.35


def test_the_scale_moves_with_its_maps(rng: np.random.Generator) -> None:
    maps = good_maps(rng)
    cold, hot = map_scale(maps)
    assert map_scale(maps * 2 + 5) == pytest.approx((cold * 2 + 5, hot * 2 + 5), rel=1e-5)


def test_a_part_more_or_less_does_not_matter_where_all_are_alike(rng: np.random.Generator) -> None:
    maps = good_maps(rng, 1)
    assert map_scale(maps) == pytest.approx(map_scale(np.repeat(maps, 5, axis=0)), abs=1e-3)


def test_what_is_not_inspected_has_no_say(rng: np.random.Generator) -> None:
    maps = good_maps(rng)
    inside = np.zeros((64, 64), bool)
    inside[8:40, 8:40] = True
    wild = np.where(inside, maps, 100.0).astype(np.float32)
    assert map_scale(wild, inside) == map_scale(maps[:, 8:40, 8:40])


def test_the_scale_grows_even_where_good_parts_are_all_the_same() -> None:
    cold, hot = map_scale(np.zeros((3, 8, 8), np.float32))
    assert hot > cold
