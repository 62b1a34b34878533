"""The score of the VAND challenge: one number over image and pixel level and all classes."""

from __future__ import annotations

from collections.abc import Iterable


def vand_score(f1_of_classes: Iterable[tuple[float | None, float | None]]) -> float | None:
    """The mean over classes of the harmonic mean of (image F1-max, pixel F1-max).

    A class with either figure undefined is left out, as it is of the means beside this score: counting it as 0
    would mark down a method for a test set that lacks a kind. None where no class is left.
    """
    scores = [
        _harmonic_mean(image, pixel) for image, pixel in f1_of_classes if image is not None and pixel is not None
    ]
    return sum(scores) / len(scores) if scores else None


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
