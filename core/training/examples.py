"""What there is to train on: a data set's test pictures, and which of them are kept out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.datasets import GOOD, Dataset, TestItem
from core.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A test picture with its truth.

    row: its place among all test pictures of the data set. object_name: of its class.
    """

    row: int
    object_name: str
    item: TestItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Examples in the data set's order. held_out: of a class or a kind of defect that training must not see."""

    seen: tuple[Example, ...]
    held_out: tuple[Example, ...]


def split(dataset: Dataset, hold_out: Sequence[str]) -> Split:
    """Test pictures of a data set apart: those whose class or defect is named in `hold_out`, and the others.

    Raises TrainingError for a name that is neither, and where no defect, or no good part, is left to learn from.
    """
    pairs = [(kind.name, item) for kind in dataset.classes for item in kind.test]
    examples = [Example(row=row, object_name=name, item=item) for row, (name, item) in enumerate(pairs)]
    known = {example.object_name for example in examples} | {example.item.defect for example in examples}
    unknown = sorted(set(hold_out) - (known - {GOOD}))
    if unknown:
        raise TrainingError(
            f"cannot hold out {', '.join(unknown)}: {dataset.root} has the classes and defects "
            f"{', '.join(sorted(known - {GOOD}))}"
        )
    apart = set(hold_out)
    held = [{example.object_name, example.item.defect} & apart for example in examples]
    seen = tuple(example for example, names in zip(examples, held, strict=True) if not names)
    if len({example.item.anomalous for example in seen}) < 2:
        raise TrainingError(f"expected good and defective pictures to train on in {dataset.root}, got {len(seen)}")
    return Split(
        seen=seen, held_out=tuple(example for example, names in zip(examples, held, strict=True) if names)
    )


def shuffled_truths(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """The control: every example keeps its picture and its kind of defect and gets the mask of anybody."""
    order = np.random.default_rng(seed).permutation(len(examples))
    return tuple(
        replace(example, item=replace(example.item, mask=examples[other].item.mask))
        for example, other in zip(examples, order, strict=True)
    )
