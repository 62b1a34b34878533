"""Training what a frozen encoder lacks: linear layers for its stages, and words for a tower that has only eyes.

    dataset = core.datasets.open_dataset("mvtec", root)
    text_of = class_text("april-gan", core.load_text_encoder("april-gan").embed)
    data = train_linear_layers(encoder, text_of, dataset, paper_options("mvtec"), work=folder)
    Path("layers.safetensors").write_bytes(data)

As in `core`, names are loaded when they are first used: options can be read and checked without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.training.linear_layers import class_text, steady_precision, train_linear_layers
    from core.training.options import Method, TrainingOptions, WordsOptions, paper_options
    from core.training.progress import Step
    from core.training.words import train_words

_HOMES = {
    "Method": "options",
    "Step": "progress",
    "TrainingOptions": "options",
    "WordsOptions": "options",
    "class_text": "linear_layers",
    "paper_options": "options",
    "steady_precision": "linear_layers",
    "train_linear_layers": "linear_layers",
    "train_words": "words",
}

__all__ = [
    "Method",
    "Step",
    "TrainingOptions",
    "WordsOptions",
    "class_text",
    "paper_options",
    "steady_precision",
    "train_linear_layers",
    "train_words",
]


def __getattr__(name: str) -> object:
    """Load a public name's module at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'core.training' has no attribute {name!r}")
    return getattr(import_module(f"core.training.{_HOMES[name]}"), name)
