"""What enrolment refuses before it computes anything: samples that are no samples, switches without effect."""

from __future__ import annotations

from collections import Counter
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
    """One size, no duplicates: a copy would vouch for itself in leave-one-out. Raises EnrolmentError.

    size: (H, W) that they must have; None takes the size that most of them have, so that the odd one is named.
    """
    _check_sizes(samples, size)
    seen: dict[str, str] = {}
    for sample in samples:
        twin = seen.get(sample.sha256)
        if twin is not None:
            raise EnrolmentError(f"{sample.name} and {twin} are the same picture", sample=sample.name)
        seen[sample.sha256] = sample.name


def _check_sizes(samples: Sequence[Sample], size: tuple[int, int] | None) -> None:
    sizes = [sample.image.shape[:2] for sample in samples]
    if not sizes:
        return
    height, width = size or Counter(sizes).most_common(1)[0][0]
    odd = [sample for sample, found in zip(samples, sizes, strict=True) if found != (height, width)]
    if odd:
        came = odd[0].image.shape
        more = f" ({len(odd) - 1} more are of another size: {', '.join(s.name for s in odd[1:4])})"
        raise EnrolmentError(
            f"{odd[0].name}: expected {width}x{height} pixels as the others, got {came[1]}x{came[0]}"
            f"{more if len(odd) > 1 else ''}",
            sample=odd[0].name,
        )


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
