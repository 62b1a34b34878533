"""Per-region overlap (PRO): how much of each defective region is found, at few false detections. No I/O.

Regions are 8-connected and count alike whatever their size; the false-positive rate (FPR) is over the good pixels
of all pictures. Two forms: `ExactOverlap` is the field's, `ReferenceOverlap` that of APRIL-GAN's code.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core.metrics.bucket_spool import PLACE_BITS, PLACES, order_keys
from core.metrics.score_curve import CurvePiece, Floats, ScoreBucket

FPR_LIMIT = 0.3
REFERENCE_STEPS = 200


def region_sizes(mask: npt.NDArray[np.bool_]) -> tuple[int, npt.NDArray[np.int64]]:
    """Number of 8-connected regions in a mask (H, W); for its n pixels, row by row, their region's size (n,)."""
    count, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    regions = labels[mask]
    return count - 1, np.bincount(regions, minlength=1)[regions]


class ExactOverlap:
    """Area under (FPR, mean overlap) up to FPR_LIMIT, over FPR_LIMIT; a straight line between thresholds, also
    where the limit cuts it. Takes the pieces of the threshold curve from the top down.

    good: number of good pixels, at least one; regions: number of regions, at least one.
    """

    def __init__(self, *, good: int, regions: int) -> None:
        self._good, self._regions = good, regions
        self._area = 0.0
        self._fpr = self._overlap = 0.0

    def take(self, piece: CurvePiece) -> None:
        """Go on with the next piece: level to each threshold's score, then up the line that its ties make."""
        if self._fpr < FPR_LIMIT and len(piece.false):
            fpr = np.stack([piece.false_above, piece.false], axis=1).ravel() / self._good
            overlap = np.stack([piece.overlap_before, piece.overlap], axis=1).ravel() / self._regions
            self._extend(fpr, overlap)

    @property
    def value(self) -> float:
        """PRO in [0, 1]; what is left after the last piece runs level at an overlap of 1."""
        rest = max(0.0, FPR_LIMIT - self._fpr) * self._overlap
        return (self._area + rest) / FPR_LIMIT

    def _extend(self, fpr: Floats, overlap: Floats) -> None:
        fpr, overlap = np.append(self._fpr, fpr), np.append(self._overlap, overlap)
        self._area += area_up_to(FPR_LIMIT, fpr, overlap)
        self._fpr, self._overlap = float(fpr[-1]), float(overlap[-1])


def area_up_to(limit: float, x: Floats, y: Floats) -> float:
    """Area under the straight lines through the points (x, y), x rising, left of `limit`."""
    cut = np.minimum(x, limit)
    width, run = np.diff(cut), np.diff(x)
    share = np.divide(width, run, out=np.zeros_like(run), where=run > 0)
    return float((width * (y[:-1] + share * np.diff(y) / 2)).sum())


class ReferenceOverlap:
    """The reference's PRO: 200 thresholds at equal steps up from the least score, detections strictly above.

    FPRs below FPR_LIMIT are kept and stretched to [0, 1]; then trapezoids. It depends on the scores' scale.

    low, high: the least and the largest score of all pixels.
    """

    def __init__(self, low: float, high: float, *, good: int, regions: int) -> None:
        self._good, self._regions = good, regions
        thresholds = low + np.arange(REFERENCE_STEPS) * (high - low) / REFERENCE_STEPS
        keys = order_keys(largest_float32_up_to(thresholds))
        self._buckets, self._places = keys >> PLACE_BITS, keys & np.uint32(PLACES - 1)
        self._points = np.zeros((REFERENCE_STEPS, 2))

    @property
    def buckets(self) -> set[int]:
        """The buckets that must be taken."""
        return set(self._buckets.tolist())

    def take(self, bucket: ScoreBucket) -> None:
        """Look at a bucket, in any order."""
        for step in np.flatnonzero(self._buckets == bucket.number):
            found = bucket.strictly_above(int(self._places[step]))
            self._points[step] = found.good / self._good, found.overlap / self._regions

    @property
    def value(self) -> float | None:
        """In [0, 1]; None where fewer than two different rates are kept, which leaves nothing to stretch."""
        kept = self._points[self._points[:, 0] < FPR_LIMIT]
        span = float(np.ptp(kept[:, 0])) if len(kept) else 0.0
        if span == 0.0:
            return None
        return abs(float(np.trapezoid(kept[:, 1], kept[:, 0]))) / span


def largest_float32_up_to(values: Floats) -> npt.NDArray[np.float32]:
    """The largest float32 that is not above each value: a float32 score exceeds both or neither."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
