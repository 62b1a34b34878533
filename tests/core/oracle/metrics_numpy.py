"""The field's metrics by brute force: every threshold is tried, every pair compared, every region counted.

A score at or above the threshold counts as a detection unless said otherwise; labels are 0 good, 1 defective.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

from tests.core.oracle.arrays import Floats

Labels = npt.NDArray[np.bool_]

FPR_LIMIT = 0.3
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=int)


def auroc(labels: Labels, scores: Floats) -> float:
    """The share of (defective, good) pairs in the right order; a tie counts half."""
    defective, good = scores[labels], scores[~labels]
    _require_both(defective, good)
    wins = (defective[:, None] > good[None, :]).sum() + 0.5 * (defective[:, None] == good[None, :]).sum()
    return float(wins / (len(defective) * len(good)))


def average_precision(labels: Labels, scores: Floats) -> float:
    """The sum over falling thresholds of precision times the recall gained there (no interpolation)."""
    total, recall_before = 0.0, 0.0
    for precision, recall in _precision_recall(labels, scores):
        total += precision * (recall - recall_before)
        recall_before = recall
    return total


def f1_max(labels: Labels, scores: Floats) -> float:
    """The best F1 that any threshold reaches."""
    curve = list(_precision_recall(labels, scores))
    return max(2 * p * r / (p + r) if p + r else 0.0 for p, r in curve)


def pro(masks: Sequence[Labels], maps: Sequence[Floats], *, limit: float = FPR_LIMIT) -> float:
    """Per-region overlap, exact: area under (FPR, mean overlap) over all thresholds up to `limit`, / `limit`.

    FPR is over the good pixels of all images; regions are 8-connected and count alike whatever their size;
    between two thresholds the curve is a straight line, also where `limit` cuts it.
    """
    thresholds = np.unique(np.concatenate([np.ravel(m) for m in maps]))[::-1]
    points = [_overlap_point(masks, [m >= threshold for m in maps]) for threshold in thresholds]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise([(0.0, 0.0), *points]):
        if x0 >= limit:
            break
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0) if x1 > x0 else y1
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def pro_cflow200(masks: Sequence[Labels], maps: Sequence[Floats]) -> float:
    """The reference's PRO: 200 equal steps from the least score up, detection strictly above, FPR < 0.3 kept.

    The kept FPRs are stretched to [0, 1] and the trapezoids summed, so it differs from `pro`.
    """
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    thresholds = low + np.arange(200) * (high - low) / 200
    points = [_overlap_point(masks, [m > threshold for m in maps]) for threshold in thresholds]
    kept = np.array([point for point in points if point[0] < FPR_LIMIT])
    if len(kept) < 2 or np.ptp(kept[:, 0]) == 0:
        raise ValueError(f"expected two different false-positive rates below {FPR_LIMIT}, got {len(kept)} points")
    rates = (kept[:, 0] - kept[:, 0].min()) / np.ptp(kept[:, 0])
    return float(abs(np.trapezoid(kept[:, 1], rates)))


def vand_score(image_f1: Sequence[float], pixel_f1: Sequence[float]) -> float:
    """The mean over classes of the harmonic mean of image F1-max and pixel F1-max."""
    pairs = zip(image_f1, pixel_f1, strict=True)
    return float(np.mean([2 * i * p / (i + p) if i + p else 0.0 for i, p in pairs]))


def _precision_recall(labels: Labels, scores: Floats) -> Iterator[tuple[float, float]]:
    _require_both(scores[labels], scores[~labels])
    for threshold in np.unique(scores)[::-1]:
        found = scores >= threshold
        hits = float((found & labels).sum())
        yield hits / float(found.sum()), hits / float(labels.sum())


def _overlap_point(masks: Sequence[Labels], found: Sequence[Labels]) -> tuple[float, float]:
    """(false-positive rate, mean overlap of the regions) of binary maps."""
    overlaps: list[float] = []
    false, good = 0, 0
    for mask, detections in zip(masks, found, strict=True):
        regions, count = label(mask, structure=EIGHT_NEIGHBOURS)
        overlaps += [float(detections[regions == number].mean()) for number in range(1, count + 1)]
        false += int((detections & ~mask).sum())
        good += int((~mask).sum())
    if not overlaps or not good:
        raise ValueError(f"expected defective regions and good pixels, got {len(overlaps)} and {good}")
    return false / good, float(np.mean(overlaps))


def _require_both(defective: Floats, good: Floats) -> None:
    if not len(defective) or not len(good):
        raise ValueError(f"expected defective and good samples, got {len(defective)} and {len(good)}")
