"""CLIP-AD's sentences: 9 normal and 10 abnormal states in 11 templates with two articles (method.md section 2).

Knows no torch and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import EncoderError

FLAWS = ("flaw", "defect", "damage", "scratch", "crack", "contamination")
NORMAL_STATES = ("flawless {}", "perfect {}", "unblemished {}", *(f"{{}} without {flaw}" for flaw in FLAWS))
ABNORMAL_STATES = (
    "damaged {}",
    "imperfect {}",
    "blemished {}",
    "broken {}",
    *(f"{{}} with {flaw}" for flaw in FLAWS),
)
TEMPLATES = tuple(
    pattern.format(article=article, phrase="{}")
    for pattern in (
        "a cropped photo of {article} {phrase}.",
        "a close-up photo of {article} {phrase}.",
        "a bright photo of {article} {phrase}.",
        "a dark photo of {article} {phrase}.",
        "a jpeg corrupted photo of {article} {phrase}.",
        "a blurry photo of {article} {phrase}.",
        "a photo of {article} {phrase}.",
        "a photo of {article} large {phrase}.",
        "a photo of {article} small {phrase}.",
        "a photo of {article} {phrase} for visual inspection.",
        "a photo of {article} {phrase} for anomaly detection.",
    )
    for article in ("the", "a")
)


def sentences(object_name: str) -> tuple[list[str], list[str]]:
    """The 198 normal and the 220 abnormal sentences of an object, state by state.

    Raises EncoderError for a name without a visible character.
    """
    if not object_name.strip():
        raise EncoderError(f"expected the object's name in words, got {object_name!r}")
    return _ensemble(NORMAL_STATES, object_name), _ensemble(ABNORMAL_STATES, object_name)


def _ensemble(states: Sequence[str], object_name: str) -> list[str]:
    phrases = [state.format(object_name) for state in states]
    return [template.format(phrase) for phrase in phrases for template in TEMPLATES]
