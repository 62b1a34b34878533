"""Scoring from words alone: what every method with a text branch has in common.

A branch turns features and the product's text features F_t into one map a stage. The few-shot branch (banks)
is the same for all methods and lives in core.scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from core.encoder import Encoder
from core.features import Features
from core.image import Image
from core.text import Embed

TEMPERATURE = 100.0
"""CLIP's logit scale. The paper leaves it out of the image score; the code that made its numbers has it."""


class ZeroShot(Protocol):
    """A text branch."""

    def text_features(self, embed: Embed, object_name: str) -> torch.Tensor:
        """F_t (2, E) float32 unit rows, normal first. Raises EncoderError for an empty name."""

    def encode(self, encoder: Encoder, images: Sequence[Image]) -> Features:
        """The features this branch needs; one pass that serves the few-shot branch as well."""

    def grids(self, features: Features, text: torch.Tensor) -> list[torch.Tensor]:
        """Per stage (N, h, w) values at the tokens' own resolution; larger is more anomalous."""

    def stage_maps(self, features: Features, text: torch.Tensor, size: int) -> list[torch.Tensor]:
        """Per stage (N, size, size), exactly as the method's paper computes them."""

    def finish(self, summed: torch.Tensor) -> torch.Tensor:
        """What the method does to the sum of its own stages, (N, size, size) to the same; not to the banks."""


def text_logit(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """(N, E) unit image embeddings and F_t (2, E) to (N,) logits of the abnormal state."""
    apart = (text[1] - text[0]).double()  # two nearly equal similarities, rounded and then subtracted, lose digits
    return (TEMPERATURE * (image.double() @ apart)).float()


def text_score(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """`softmax(100 f . F_t)[abnormal]`, (N,) in [0, 1]."""
    return torch.sigmoid(text_logit(image, text))
