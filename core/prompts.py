"""APRIL-GAN's prompt ensemble: 7 normal and 5 abnormal states in 35 templates (arXiv 2305.17382, method.md)."""

from __future__ import annotations

from core.errors import EncoderError

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL_STATES = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a photo of a large {}.",
    "a blurry photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)


def sentences(object_name: str) -> tuple[list[list[str]], list[list[str]]]:
    """The ensemble for one object: (normal, abnormal), each a list of states, each 35 sentences.

    object_name: goes in as it is; the paper's numbers were made with raw folder names ("metal_nut").

    Raises EncoderError for an empty name.
    """
    if not object_name.strip():
        raise EncoderError(f"expected the object's name in words, got {object_name!r}")

    def ensemble(states: tuple[str, ...]) -> list[list[str]]:
        return [[template.format(state.format(object_name)) for template in TEMPLATES] for state in states]

    return ensemble(NORMAL_STATES), ensemble(ABNORMAL_STATES)
