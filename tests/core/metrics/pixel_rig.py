"""Pixel figures of maps and masks: the product's, with blocks and chunks as small as asked, and brute force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.metrics import PixelAccumulator, PixelFigures, bucket_spool, pixel_level
from tests.core.oracle import metrics_numpy as oracle


def measured(
    maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], spool: Path, *, block: int = 1000, chunk: int = 16
) -> PixelFigures:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_level, "GOOD_BLOCK", block)
        patch.setattr(pixel_level, "DEFECTIVE_BLOCK", block)
        patch.setattr(bucket_spool, "CHUNK", chunk)
        with PixelAccumulator(spool) as accumulator:
            for map, mask in zip(maps, masks, strict=True):
                accumulator.add(np.asarray(map, dtype=np.float32), np.asarray(mask, dtype=bool))
            return accumulator.figures()


def brute_force(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> PixelFigures:
    """Thresholds between float32 scores are told apart in float64, as the product does."""
    scores = [np.asarray(map, dtype=np.float32).astype(np.float64) for map in maps]
    masks = [np.asarray(mask, dtype=bool) for mask in masks]
    labels, flat = (np.concatenate([part.ravel() for part in parts]) for parts in (masks, scores))
    try:
        pro_cflow200 = oracle.pro_cflow200(masks, scores)
    except ValueError as error:
        if "two different" not in str(error):
            raise
        pro_cflow200 = None
    return PixelFigures(
        auroc=oracle.auroc(labels, flat),
        f1_max=oracle.f1_max(labels, flat),
        ap=oracle.average_precision(labels, flat),
        pro=oracle.pro(masks, scores),
        pro_cflow200=pro_cflow200,
    )


def assert_alike(found: PixelFigures, expected: PixelFigures) -> None:
    for name in PixelFigures.__slots__:
        one, other = getattr(found, name), getattr(expected, name)
        assert one == (None if other is None else pytest.approx(other, abs=1e-9)), name
