"""The order of an epoch, and its 2x2 stitches of four pictures (APRIL-GAN's augmentation, method.md section 1).

What is drawn depends on (seed, epoch, index) alone: a training that was killed finds the same stream again without
any kept state of a random generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from core.image import Image
from core.training.examples import Example

Draw = tuple[int, ...]
"""Places among the examples: one (the picture as it is) or four (a stitch: top left, top right, bottom left,
bottom right)."""

Mask = npt.NDArray[np.bool_]
Shelf = dict[str, list[int]]
"""A class's examples by kind of defect, good ones among them: the folders of MVTec AD's layout."""


def draw_epoch(examples: Sequence[Example], *, seed: int, epoch: int, probability: float) -> list[Draw]:
    """Every example once, in an order of this epoch's own; each is replaced by a stitch with `probability`.

    A stitch takes pictures of the example's class: four times a kind of defect uniformly, then a picture of it
    uniformly, so that rare kinds are not rare in stitches.
    """
    shelves = _shelves(examples)
    order = np.random.default_rng([seed, epoch]).permutation(len(examples))
    return [_draw(examples, shelves, int(index), [seed, epoch, int(index) + 1], probability) for index in order]


def stitch_images(quarters: Sequence[Image]) -> Image:
    """Four (H, W, 3) pictures to one (2 H, 2 W, 3) of the first one's size; others are squashed to it."""
    height, width = quarters[0].shape[:2]
    same = [
        quarter
        if quarter.shape[:2] == (height, width)
        else cv2.resize(quarter, (width, height), interpolation=cv2.INTER_AREA)
        for quarter in quarters
    ]
    return np.ascontiguousarray(_two_by_two(same))


def stitch_masks(quarters: Sequence[Mask], size: int) -> Mask:
    """Four (h, h) masks to one (size, size), h being half of `size`, rounded up."""
    return np.ascontiguousarray(_two_by_two(quarters)[:size, :size])


def _two_by_two(quarters: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    top, bottom = np.concatenate(quarters[:2], axis=1), np.concatenate(quarters[2:], axis=1)
    return np.concatenate([top, bottom], axis=0)


def _shelves(examples: Sequence[Example]) -> dict[str, Shelf]:
    shelves: dict[str, Shelf] = {}
    for index, example in enumerate(examples):
        shelves.setdefault(example.object_name, {}).setdefault(example.item.defect, []).append(index)
    return shelves


def _draw(
    examples: Sequence[Example], shelves: dict[str, Shelf], index: int, seed: list[int], probability: float
) -> Draw:
    rng = np.random.default_rng(seed)
    if rng.random() >= probability:
        return (index,)
    shelf = list(shelves[examples[index].object_name].values())
    kinds = [shelf[rng.integers(len(shelf))] for _ in range(4)]
    return tuple(kind[rng.integers(len(kind))] for kind in kinds)
