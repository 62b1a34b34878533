"""Weights that come with the product: `core/assets/PRESET/`, each folder with its model card. Knows no torch."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def packaged_words(name: str) -> Path:
    """The text tower and the image projection, under open_clip's names; the image trunk is another package's."""
    return ASSETS / name / "words.safetensors"


def packaged_layers(name: str) -> Path:
    """The linear layers, an adapter file (core.adapter)."""
    return ASSETS / name / "linear.safetensors"
