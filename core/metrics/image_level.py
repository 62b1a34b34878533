"""How well one score a picture tells defective pictures from good ones. scikit-learn computes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from core.errors import MetricsError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFigures:
    """All in [0, 1]. All None unless there are good and defective pictures: one kind alone ranks nothing."""

    auroc: float | None
    f1_max: float | None
    ap: float | None


def image_figures(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> ImageFigures:
    """AUROC, the best F1 of all thresholds, and average precision.

    labels: (N,) bool, True for defective. scores: (N,) float, larger is more anomalous; equal ones are ties.
    Raises MetricsError, naming the picture's index, for a score that is not finite.
    """
    if labels.dtype != np.bool_ or labels.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            f"expected bool labels (N,) and scores (N,), got {labels.dtype} {labels.shape} and {scores.shape}"
        )
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise MetricsError(f"the score of picture {broken[0]} is {scores[broken[0]]}, expected a finite number")
    if labels.all() or not labels.any():
        return ImageFigures(auroc=None, f1_max=None, ap=None)
    return ImageFigures(
        auroc=float(roc_auc_score(labels, scores)),
        f1_max=_f1_max(labels, scores),
        ap=float(average_precision_score(labels, scores)),
    )


def _f1_max(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores)
    hit = recall > 0  # elsewhere F1 is 0 or 0/0
    return float(np.max(2 * precision[hit] * recall[hit] / (precision[hit] + recall[hit])))
