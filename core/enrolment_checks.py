"""What enrolment refuses before it computes anything: samples that are no samples, switches without effect."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import EnrolmentError
from core.flow import Sample
from core.methods.choose import WALK_BOTH_PATHS
from core.presets import MatchOptions
from core.scorer import Scorer


def split_samples(
    samples: Sequence[Sample], shots: int | None, calibration: Sequence[Sample]
) -> tuple[list[Sample], list[Sample]]:
    """References, and good parts outside the bank. Raises EnrolmentError for too few samples."""
    if not samples:
        raise EnrolmentError("expected at least one good sample, got none")
    if shots is None:
        return list(samples), list(calibration)
    if not 1 <= shots <= len(samples):
        raise EnrolmentError(f"expected {shots} references, got {len(samples)} samples")
    return list(samples[:shots]), [*samples[shots:], *calibration]


def check_samples(samples: Sequence[Sample], *, size: tuple[int, int] | None = None) -> None:
    """One size, no duplicates: a copy would vouch for itself in leave-one-out. Raises EnrolmentError."""
    expected = size or samples[0].image.shape[:2]
    seen: dict[str, str] = {}
    for sample in samples:
        height, width = sample.image.shape[:2]
        if (height, width) != tuple(expected):
            raise EnrolmentError(
                f"{sample.name}: expected {expected[1]}x{expected[0]} pixels as the others, got {width}x{height}",
                sample=sample.name,
            )
        twin = seen.get(sample.sha256)
        if twin is not None:
            raise EnrolmentError(f"{sample.name} and {twin} are the same picture", sample=sample.name)
        seen[sample.sha256] = sample.name


def check_switches(scorer: Scorer, match: MatchOptions, text_weight: float | None) -> None:
    """Refuse, with an EnrolmentError, what this scorer's method would pass over."""
    if match.tokens == "vv" and scorer.method not in WALK_BOTH_PATHS:
        raise EnrolmentError(
            f"tokens of the V-V path take a method of {', '.join(WALK_BOTH_PATHS)}, got {scorer.method}"
        )
    if text_weight is None:
        return
    if scorer.zero_shot is None:
        raise EnrolmentError(f"method {scorer.method} has no words to give the weight {text_weight}")
    if not 0.0 <= text_weight < float("inf"):
        raise EnrolmentError(f"expected a text weight of 0 or more, got {text_weight}")
