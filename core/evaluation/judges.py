"""From what an encoder saw of a batch to maps and numbers, whatever the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

from core.bank import Memory, to_numpy
from core.baselines import FittedBaseline
from core.baselines.windows import WindowFeatures
from core.features import Features
from core.inspection import Floats, inspect_features
from core.presets import Mode
from core.score_rule import ScoreRule
from core.scorer import Scorer

SeenT = TypeVar("SeenT")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """N encoded pictures, by each way of looking that some method asked for.

    features: of the ordinary pass, with CLIP-AD's second path where a method walks it. windows: WinCLIP's.
    """

    features: Features | None
    windows: WindowFeatures | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """N pictures, float32. maps: (N, S, S). scores: (N,) streaming ones, NaN for a method with none in this mode.

    text_scores: (N,) in [0, 1], None without words.
    """

    maps: Floats
    scores: Floats
    text_scores: Floats | None


class Judge(Protocol):
    """A method with its references, ready to look at any picture. Frozen."""

    def judge(self, seen: Seen) -> Judged:
        """Maps and numbers of a batch; no picture's depend on another's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScorerJudge:
    """The product's own methods, by the same code as `core.inspect`; the fields are those of its arguments."""

    scorer: Scorer
    mode: Mode
    text: torch.Tensor | None = None
    memory: Memory | None = None
    rule: ScoreRule | None = None

    def judge(self, seen: Seen) -> Judged:
        """See Judge."""
        inspection = inspect_features(
            self.scorer,
            present(seen.features),
            mode=self.mode,
            text=self.text,
            memory=self.memory,
            rule=self.rule,
            keep_stages=False,
        )
        return Judged(maps=inspection.map, scores=inspection.score, text_scores=inspection.text_score)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaselineJudge(Generic[SeenT]):
    """A baseline of core.baselines. takes: the part of what was seen that it looks at."""

    fitted: FittedBaseline[SeenT]
    takes: Callable[[Seen], SeenT]

    @torch.inference_mode()
    def judge(self, seen: Seen) -> Judged:
        """See Judge."""
        judgement = self.fitted.judge(self.takes(seen))
        return Judged(maps=to_numpy(judgement.maps), scores=to_numpy(judgement.scores), text_scores=None)


def features_of(seen: Seen) -> Features:
    """What most baselines look at."""
    return present(seen.features)


def windows_of(seen: Seen) -> WindowFeatures:
    """What WinCLIP looks at."""
    return present(seen.windows)


def joined_windows(parts: Sequence[WindowFeatures]) -> WindowFeatures:
    """What WinCLIP saw of several batches as that of one."""
    return WindowFeatures(
        image=torch.cat([part.image for part in parts]),
        windows=tuple(torch.cat(side) for side in zip(*(part.windows for part in parts), strict=True)),
        patches=torch.cat([part.patches for part in parts]),
        grid=parts[0].grid,
        sides=parts[0].sides,
    )


def present(part: SeenT | None) -> SeenT:
    """The part. Raises ValueError where nobody looked that way."""
    if part is None:
        raise ValueError("these pictures were not encoded for this method")
    return part
