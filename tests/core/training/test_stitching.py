"""The order of an epoch and its stitches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.datasets import TestItem
from core.training.examples import Example
from core.training.stitching import draw_epoch, stitch_images, stitch_masks


@pytest.fixture
def examples() -> list[Example]:
    """Class "a": 90 good, 9 holes, 1 crack; class "b": 10 good, 10 stains."""
    kinds = ["a good"] * 90 + ["a hole"] * 9 + ["a crack"] + ["b good"] * 10 + ["b stain"] * 10
    return [
        Example(
            row=row,
            object_name=kind[0],
            item=TestItem(image=Path(f"{row}.png"), mask=None, defect=kind[2:]),
        )
        for row, kind in enumerate(kinds)
    ]


def test_without_stitches_an_epoch_is_every_example_once_in_an_order_of_its_own(examples: list[Example]) -> None:
    first, second = (draw_epoch(examples, seed=3, epoch=epoch, probability=0) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == [(index,) for index in range(len(examples))]
    assert first != second


def test_the_same_seed_and_epoch_give_the_same_draws_and_another_seed_others(examples: list[Example]) -> None:
    def draws(seed: int) -> list[tuple[int, ...]]:
        return draw_epoch(examples, seed=seed, epoch=1, probability=0.5)

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)


def test_a_stitch_stays_within_its_class_and_rare_defects_are_not_rare_in_it(examples: list[Example]) -> None:
    stitches = [
        draw for epoch in range(1, 21) for draw in draw_epoch(examples, seed=0, epoch=epoch, probability=1.0)
    ]
    assert {len(draw) for draw in stitches} == {4}
    assert all(len({examples[index].object_name for index in draw}) == 1 for draw in stitches)
    of_a = Counter(examples[index].item.defect for draw in stitches if draw[0] < 100 for index in draw)
    shares = {defect: count / of_a.total() for defect, count in of_a.items()}
    assert shares == pytest.approx({"good": 1 / 3, "hole": 1 / 3, "crack": 1 / 3}, abs=0.02)


def test_every_epoch_has_stitches_of_its_own(examples: list[Example]) -> None:
    first, second = (set(draw_epoch(examples, seed=0, epoch=epoch, probability=1.0)) for epoch in (1, 2))
    assert len(first & second) < len(first) / 2


def test_the_share_of_stitches_is_the_probability(examples: list[Example]) -> None:
    draws = [draw for epoch in range(50) for draw in draw_epoch(examples, seed=0, epoch=epoch, probability=0.2)]
    assert np.mean([len(draw) == 4 for draw in draws]) == pytest.approx(0.2, abs=0.02)


def test_pictures_and_masks_are_laid_out_alike() -> None:
    pictures = [np.full((6, 8, 3), value, dtype=np.uint8) for value in (10, 20, 30, 40)]
    stitched = stitch_images(pictures)
    assert stitched.shape == (12, 16, 3)
    assert [int(stitched[y, x, 0]) for y, x in ((0, 0), (0, 15), (11, 0), (11, 15))] == [10, 20, 30, 40]
    masks = [np.full((4, 4), index == 2) for index in range(4)]
    mask = stitch_masks(masks, 8)
    assert mask[4:, :4].all()
    assert mask.sum() == 16


def test_a_mask_of_an_odd_side_is_cut_and_pictures_of_other_sizes_are_squashed() -> None:
    assert stitch_masks([np.ones((4, 4), dtype=bool)] * 4, 7).shape == (7, 7)
    other = [np.zeros((6, 8, 3), dtype=np.uint8), *[np.zeros((9, 5, 3), dtype=np.uint8)] * 3]
    assert stitch_images(other).shape == (12, 16, 3)
