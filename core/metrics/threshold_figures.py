"""AUROC, average precision and the best F1, from pieces of the threshold curve taken from the top down. No I/O."""

from __future__ import annotations

from core.metrics.score_curve import CurvePiece


class ThresholdFigures:
    """Sums over the pieces. good, defective: how many pixels of each kind there are, at least one each."""

    def __init__(self, *, good: int, defective: int) -> None:
        self._good, self._defective = good, defective
        self._pairs = self._precision = self._f1_max = 0.0

    def take(self, piece: CurvePiece) -> None:
        """Go on with the next piece."""
        # Pairs (defective, good) in the right order, a tie counts half: the Mann-Whitney form of the area.
        lower = self._good - (piece.false_above + piece.false) / 2
        self._pairs += float((piece.hits_at * lower).sum())
        detections = piece.hits + piece.false
        self._precision += float((piece.hits_at * (piece.hits / detections)).sum())
        f1 = 2 * piece.hits / (self._defective + detections)
        self._f1_max = max(self._f1_max, float(f1.max(initial=0.0)))

    @property
    def auroc(self) -> float:
        """Area under the receiver's curve; a tie counts half."""
        return self._pairs / self._good / self._defective

    @property
    def ap(self) -> float:
        """Precision at each threshold, weighed by the recall gained there (scikit-learn's form)."""
        return self._precision / self._defective

    @property
    def f1_max(self) -> float:
        """The best F1 that any threshold reaches."""
        return self._f1_max
