"""The five pixel figures of any number of maps, exact, in bounded memory.

They depend on no more than this: for every score that a defective pixel has, how many good pixels lie above it
and at it, and what share of each region does. So good pixels are spooled as bare scores, defective ones with the
size of their region, and the spools are read back one bucket of scores at a time, from the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from core.errors import MetricsError
from core.metrics.bucket_spool import PLACE_BITS, PLACES, BucketSpool, order_keys
from core.metrics.per_region_overlap import ExactOverlap, ReferenceOverlap, region_sizes
from core.metrics.score_curve import Counts, Floats, ScoreBucket, Totals
from core.metrics.threshold_figures import ThresholdFigures

GOOD_BLOCK = 1 << 22
DEFECTIVE_BLOCK = 1 << 20
"""Pixels that wait in memory for the spools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFigures:
    """All in [0, 1]. All None unless there are good and defective pixels; pro_cflow200 also where its 200
    thresholds meet fewer than two false-positive rates below 0.3 (a constant map, one far outlier)."""

    auroc: float | None
    f1_max: float | None
    ap: float | None
    pro: float | None
    pro_cflow200: float | None


NO_FIGURES = PixelFigures(auroc=None, f1_max=None, ap=None, pro=None, pro_cflow200=None)


class PixelAccumulator:
    """Takes maps one by one and tells their figures; more maps may follow, and `figures` be asked again.

    Memory, however many maps: at most 100 MiB, and 32 bytes a pixel of one map while it is added. Disk in the
    folder: 2.1 bytes a good pixel, 8.3 bytes a defective one, in files without a name that are gone after `close`
    or with the process.

    spool: a folder of the caller's. Raises OSError where it is missing or full.
    """

    def __init__(self, spool: Path) -> None:
        self._good = BucketSpool(spool, np.uint16, block=GOOD_BLOCK)
        self._defective = BucketSpool(spool, np.uint64, block=DEFECTIVE_BLOCK)
        self._low, self._high = np.inf, -np.inf
        self._regions = 0
        self._maps = 0

    def add(self, map: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> None:
        """Count a picture's pixels. map: (H, W) float32, larger is more anomalous; mask: (H, W) bool, True for
        defective. Sizes may differ from picture to picture.

        Raises MetricsError, naming the picture's index, for a map that is not finite; nothing of it is counted.
        """
        if map.dtype != np.float32 or mask.dtype != np.bool_ or map.ndim != 2 or mask.shape != map.shape:
            raise ValueError(
                "expected a float32 map and a bool mask of one shape (H, W), "
                f"got {map.dtype} {map.shape} and {mask.dtype} {mask.shape}"
            )
        if map.size:
            self._stretch_range(float(map.min()), float(map.max()))
            self._spool(order_keys(map), mask)
        self._maps += 1

    def figures(self) -> PixelFigures:
        """The figures of all maps so far. Raises OSError where the folder is full."""
        self._good.flush()
        self._defective.flush()
        good, defective = int(self._good.counts.sum()), int(self._defective.counts.sum())
        if not good or not defective:
            return NO_FIGURES
        of_thresholds = ThresholdFigures(good=good, defective=defective)
        pro = ExactOverlap(good=good, regions=self._regions)
        reference = ReferenceOverlap(self._low, self._high, good=good, regions=self._regions)
        for bucket in self._buckets(reference.buckets):
            piece = bucket.curve()
            of_thresholds.take(piece)
            pro.take(piece)
            reference.take(bucket)
        return PixelFigures(
            auroc=of_thresholds.auroc,
            f1_max=of_thresholds.f1_max,
            ap=of_thresholds.ap,
            pro=pro.value,
            pro_cflow200=reference.value,
        )

    def close(self) -> None:
        """Remove the spools."""
        self._good.close()
        self._defective.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stretch_range(self, low: float, high: float) -> None:
        if not np.isfinite([low, high]).all():
            raise MetricsError(
                f"the map of picture {self._maps} reaches from {low} to {high}, expected finite scores"
            )
        self._low, self._high = min(self._low, low), max(self._high, high)

    def _spool(self, keys: npt.NDArray[np.uint32], mask: npt.NDArray[np.bool_]) -> None:
        if not mask.any():
            self._good.append(keys.ravel(), keys.ravel().astype(np.uint16))
            return
        regions, sizes = region_sizes(mask)
        good, defective = keys[~mask], keys[mask]
        self._regions += regions
        self._good.append(good, good.astype(np.uint16))
        self._defective.append(defective, _with_size(defective, sizes))

    def _buckets(self, also: set[int]) -> Iterator[ScoreBucket]:
        """From the top, the buckets that have a defective pixel, and those named."""
        good_above = _sum_above(self._good.counts)
        defective_above = _sum_above(self._defective.counts)
        overlap_above = 0.0
        for number in sorted(also.union(np.flatnonzero(self._defective.counts).tolist()), reverse=True):
            defective, overlap = self._defective_histogram(number)
            above = Totals(
                good=int(good_above[number]), defective=int(defective_above[number]), overlap=overlap_above
            )
            yield ScoreBucket(
                number=number,
                above=above,
                good=self._good_histogram(number),
                defective=defective,
                overlap=overlap,
            )
            overlap_above += float(overlap.sum())

    def _good_histogram(self, bucket: int) -> Counts:
        counts = np.zeros(PLACES, dtype=np.int64)
        for places in self._good.read(bucket):
            counts += np.bincount(places, minlength=PLACES)
        return counts

    def _defective_histogram(self, bucket: int) -> tuple[Counts, Floats]:
        """Defective pixels a place, and the sum of one over their regions' sizes."""
        counts, overlap = np.zeros(PLACES, dtype=np.int64), np.zeros(PLACES)
        for items in self._defective.read(bucket):
            places = items.astype(np.uint16)
            counts += np.bincount(places, minlength=PLACES)
            overlap += np.bincount(places, weights=1.0 / (items >> PLACE_BITS), minlength=PLACES)
        return counts, overlap


def _with_size(keys: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """uint64 items: the place in the bucket, and above it the size of the pixel's region."""
    return keys.astype(np.uint16) | (sizes.astype(np.uint64) << np.uint64(PLACE_BITS))


def _sum_above(counts: Counts) -> Counts:
    """For each bucket the items of all higher ones."""
    return counts[::-1].cumsum()[::-1] - counts
