"""Text features: needed at enrolment only, and kept with the bank. A running worker loads no text tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize

from core.errors import EncoderError
from core.presets import Activation, EncoderSpec, has_text_tower, resolve_spec
from core.prompts import sentences
from core.towers import build_clip, clip_tokenizer

Embed = Callable[[Sequence[str]], torch.Tensor]
"""n sentences to (n, E) float32, not normalised."""

TextFeatures = torch.Tensor
"""F_t (2, E) float32 unit rows, normal first: what a product's name says of its good and bad parts."""

BATCH = 64


class TextEncoder:
    """The text tower of a CLIP with its tokenizer. Build it with `load_text_encoder`."""

    def __init__(self, model: nn.Module, tokenize: Callable[[list[str]], torch.Tensor]) -> None:
        self._model = model
        self._tokenize = tokenize

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """n sentences to (n, E) float32 on the CPU, not normalised."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenize(list(texts[start : start + BATCH]))
            parts.append(self._model.encode_text(tokens).float())  # type: ignore[operator]
        return torch.cat(parts)


def load_text_encoder(
    preset: str, *, weights: Path | str | None = None, activation: Activation | None = None
) -> TextEncoder:
    """The text tower of a preset or config, on the CPU in float32; the image tower is dropped.

    Raises EncoderError where the preset has none, WeightsError as `load_encoder` does.
    """
    return text_encoder_of(resolve_spec(preset, activation=activation), weights)


def text_encoder_of(spec: EncoderSpec, weights: Path | str | None) -> TextEncoder:
    """As `load_text_encoder`, for a spec that is resolved already."""
    if not has_text_tower(spec):
        raise EncoderError(f"preset {spec.name!r} has no text tower, so it cannot score with words")
    model = build_clip(spec, Path(weights) if weights is not None else None).eval().requires_grad_(False)
    del model.visual
    return TextEncoder(model, clip_tokenizer(spec))


def april_gan_text_features(embed: Embed, object_name: str) -> torch.Tensor:
    """F_t of APRIL-GAN: (2, E) float32 unit rows, normal first.

    Each sentence is normalised, then averaged per state, then the states' mean is normalised.

    Raises EncoderError for an empty object name.
    """
    return torch.stack([_class_feature(embed, states) for states in sentences(object_name)])


def _class_feature(embed: Embed, states: list[list[str]]) -> torch.Tensor:
    per_state = [normalize(embed(state), dim=-1).mean(dim=0) for state in states]
    return normalize(torch.stack(per_state).mean(dim=0), dim=-1)
