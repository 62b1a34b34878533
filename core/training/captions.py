"""Pictures paired with captions: what one contrastive step of the words' training sees.

A caption is a sentence of the prompt ensemble (core.prompts), of a good or of a defective state. It calls the part
by a name of its class, or by a word drawn from the whole vocabulary, so that the text tower learns to tell the
states apart whatever the part is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.prompts import ABNORMAL_STATES, NORMAL_STATES, TEMPLATES
from core.training.examples import Example

Names = Mapping[str, Sequence[str]]
"""A class to further names of its objects, in words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """n pictures, each with a caption of its own.

    pictures: (n,) int64 places among the examples. captions: n sentences. positives: (n, n) bool, [i, j] whether
    caption j is true of picture i: the state is right, and so is the name, or the name says nothing.
    """

    pictures: npt.NDArray[np.int64]
    captions: list[str]
    positives: npt.NDArray[np.bool_]


class Captioner:
    """Draws pairs of some examples; the same seed and step give the same pairs."""

    def __init__(
        self,
        examples: Sequence[Example],
        vocabulary: Sequence[str],
        *,
        names: Names,
        own_name: float,
        seed: int,
    ) -> None:
        self._vocabulary, self._own_name, self._seed = vocabulary, own_name, seed
        kinds = sorted({example.object_name for example in examples})
        self._names = [class_names(kind, names) for kind in kinds]
        self._kinds = np.array([kinds.index(example.object_name) for example in examples])
        self._anomalous = np.array([example.item.anomalous for example in examples])
        self._shelves = [np.flatnonzero(self._anomalous == state) for state in (False, True)]

    def draw(self, step: int, count: int) -> Pairs:
        """`count` pairs of a step; each state is as likely as the other, however many pictures it has."""
        rng = np.random.default_rng([self._seed, step])
        states = rng.integers(2, size=count)
        pictures = np.array([rng.choice(self._shelves[state]) for state in states])
        kinds, named = self._kinds[pictures], rng.random(count) < self._own_name
        captions = [
            _caption(rng, self._names[kind] if own else self._vocabulary, anomalous=bool(state))
            for kind, own, state in zip(kinds, named, states, strict=True)
        ]
        positives = (states[:, None] == states) & (~named | (kinds[:, None] == kinds))
        return Pairs(pictures=pictures, captions=captions, positives=positives)


def class_names(kind: str, names: Names) -> tuple[str, ...]:
    """What objects of a class are called: the folder's name as it is, in words, and further names of it."""
    return tuple(dict.fromkeys((kind, kind.replace("_", " ").replace("-", " "), *names.get(kind, ()))))


def _caption(rng: np.random.Generator, names: Sequence[str], *, anomalous: bool) -> str:
    states = ABNORMAL_STATES if anomalous else NORMAL_STATES
    state = states[int(rng.integers(len(states)))].format(names[int(rng.integers(len(names)))])
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(state)
