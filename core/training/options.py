"""What decides trained weights: the options, and the papers' values of them. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from core.errors import TrainingError

Schedule = Literal["constant", "cosine"]
Method = Literal["april-gan", "sdp+"]
"""Methods that have linear layers; they differ in their text features and in the papers' options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How linear layers are trained. Same options, data and encoder: same layers (on a CPU, to the bit).

    epochs: times every example is drawn. batch: examples a step; the last of an epoch may be smaller.
    learning_rate, betas: of Adam, without decay. schedule: whether the rate stays, as in the paper, or falls along
    half a cosine to 0 at the end. stitch_probability: share of examples that are replaced by a
    2x2 stitch. seed: of layers, order and stitches. hold_out: classes, or kinds of defect, that are kept out of
    training and measured after every epoch. shuffle_labels: masks change pictures before training begins, a
    control from which nothing can be learnt. centred: the layers take tokens relative to their picture's mean.

    Raises TrainingError for values that mean nothing.
    """

    epochs: int = 15
    batch: int = 8
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    schedule: Schedule = "constant"
    stitch_probability: float = 0.0
    seed: int = 0
    hold_out: tuple[str, ...] = ()
    shuffle_labels: bool = False
    centred: bool = False

    def __post_init__(self) -> None:
        _check(self.epochs >= 1 and self.batch >= 1, "one epoch and one example a batch, or more", self)
        _check(math.isfinite(self.learning_rate) and self.learning_rate > 0, "a learning rate above 0", self)
        _check(all(0 <= beta < 1 for beta in self.betas), "betas in [0, 1)", self)
        _check(0 <= self.stitch_probability <= 1, "a stitch probability in [0, 1]", self)
        _check(self.seed >= 0, "a seed of 0 or more", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsOptions:
    """How a text tower and an image projection are trained beside a locked image trunk.

    steps, batch: contrastive steps, and picture-caption pairs in each. learning_rate: peak of a cosine after
    `warmup` steps. weight_decay: of AdamW, on matrices. own_name: share of captions that call the part by the
    name of its class; the others take a word of the vocabulary, so that any name will do later. seed: of
    everything. hold_out: as in TrainingOptions, never seen.

    Raises TrainingError for values that mean nothing.
    """

    steps: int = 3000
    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.05
    own_name: float = 0.5
    seed: int = 0
    hold_out: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        _check(self.steps >= 1 and self.batch >= 2, "one step and two pairs a batch, or more", self)
        _check(math.isfinite(self.learning_rate) and self.learning_rate > 0, "a learning rate above 0", self)
        _check(self.warmup >= 0 and self.weight_decay >= 0, "a warm-up and a weight decay of 0 or more", self)
        _check(0 <= self.own_name <= 1, "a share of own names in [0, 1]", self)
        _check(self.seed >= 0, "a seed of 0 or more", self)


def paper_options(layout: str, method: Method = "april-gan") -> TrainingOptions:
    """The published training of a method on a data set's layout ("mvtec", "visa", "folder"): method.md.

    APRIL-GAN's paper names batches of 16, its code, which made the published layers, 8: this is 8.
    """
    if method == "sdp+":
        return TrainingOptions(epochs=5, batch=8, learning_rate=1e-4)
    if layout == "mvtec":
        return TrainingOptions(epochs=3, stitch_probability=0.2)
    return TrainingOptions(epochs=15)


def _check(holds: bool, expected: str, options: object) -> None:
    if not holds:
        raise TrainingError(f"expected {expected}, got {options}")
