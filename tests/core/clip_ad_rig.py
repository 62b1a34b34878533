"""What the tests of CLIP-AD's parts share: tolerances, pixels, a text tower, an adapter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

import core
from core.adapter import Adapter, AdapterHeader
from core.dual_path import DualPath, dual_path
from core.text import Embed
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats
from tests.core.oracle.torch_twin import open_clip_twin

PARITY = 1e-4
"""What float32 may differ from the oracle."""
SHOWS = 10 * PARITY
"""How far a mutant must lie from the method, so that parity cannot hold for both."""


def pixels_of(count: int = 3, size: int = tiny.IMAGE_SIZE) -> tuple[Floats, torch.Tensor]:
    """The same normalised pixels for the oracle and for the product."""
    pixels = tiny.random_pixels(count, size)
    return pixels, torch.from_numpy(pixels).float()


def walk(encoder: core.Encoder, pixels: torch.Tensor) -> DualPath:
    return dual_path(encoder.tower, pixels, encoder.stages)


def open_clip_embed(files: tiny.LivelyClip) -> Embed:
    """Sentences to (n, C) float32, not normalised, by open_clip's own text tower."""
    model = open_clip_twin(files, "gelu", tiny.IMAGE_SIZE).float()

    def embed(texts: Sequence[str]) -> torch.Tensor:
        with torch.inference_mode():
            encoded: torch.Tensor = model.encode_text(torch.from_numpy(tiny.tokenize(texts)))
        return encoded

    return embed


def lively_adapter(encoder: core.Encoder) -> Adapter:
    """The oracle's linear layers as the product's."""
    layers = tiny.lively_linears()
    return Adapter(
        header=AdapterHeader(
            tower_id=encoder.tower_id,
            activation=encoder.spec.activation,
            stages=encoder.stages,
            dataset=None,
            training={},
        ),
        weights=tuple(torch.from_numpy(layer.weight).float() for layer in layers),
        biases=tuple(torch.from_numpy(layer.bias).float() for layer in layers),
        sha256="",
    )


def assert_parity(ours: torch.Tensor, expected: Floats, *, within: float = PARITY) -> None:
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=within)
