"""The methods APRIL-GAN is compared with (method.md section 4): offline, whole batches, for the evaluator.

A baseline is fitted on good pictures and then judges any others; both sides see what an encoder made of them.
PatchCore, PaDiM and SPADE see `core.Features`, WinCLIP sees `core.baselines.windows.WindowFeatures`. A picture's
judgement depends on that picture and on the good ones, never on the others in its batch.

The files here know no data set, no metric and no threshold.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from core.errors import EnrolmentError

SeenT = TypeVar("SeenT", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """What a baseline thinks of N pictures; larger is more anomalous, the unit is the baseline's own.

    maps: (N, S, S) float32, S the pixels a side the baseline was asked for. scores: (N,) float32.
    """

    maps: torch.Tensor
    scores: torch.Tensor


class FittedBaseline(Protocol[SeenT]):
    """A baseline that has seen the good pictures. Frozen."""

    def judge(self, features: SeenT) -> Judgement:
        """Maps and scores of N pictures, from one look at them."""
        ...

    def maps(self, features: SeenT) -> torch.Tensor:
        """(N, S, S) float32."""
        return self.judge(features).maps

    def scores(self, features: SeenT) -> torch.Tensor:
        """(N,) float32."""
        return self.judge(features).scores


class Baseline(Protocol[SeenT]):
    """A baseline's settings."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def fit(self, good: SeenT) -> FittedBaseline[SeenT]:
        """Learn what good pictures look like. Raises EnrolmentError when there are none."""
        ...


def check_some(good: Sized, name: str) -> None:
    """Raise EnrolmentError unless there is at least one good picture."""
    if not len(good):
        raise EnrolmentError(f"{name} needs at least one good picture, got none")
