"""What an evaluation is asked for, and the trials that this makes. Knows no torch and no picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from core.presets import MethodName

ScoreMode = Literal["transductive", "streaming"]
"""How image scores are made: over the whole class, as the reference code does, or each from its picture alone."""
ObjectNames = Literal["folder", "words", "object"]
"""What prompts call a class: its folder's name as it is (`metal_nut`, the papers' way), the same in words
("metal nut"), or "object"."""

SCORERS: tuple[str, ...] = get_args(MethodName)
BASELINES = ("winclip", "patchcore", "padim", "spade")
METHODS = (*SCORERS, *BASELINES)
ZERO_SHOT = ("april-gan", "sdp", "sdp+", "winclip")
"""Methods that words alone are enough for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One method with one draw of references: a row of the table for every class and score mode.

    score_modes: several where map and text score are the same in both, so that one look serves them.
    """

    method: str
    shots: int
    seed: int
    score_modes: tuple[ScoreMode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """methods: of METHODS. shots: numbers of references, 0 for none. seeds: draws of them.

    What is named twice counts once. Raises ValueError for values that mean nothing, or that leave nothing to do.
    """

    methods: tuple[str, ...]
    shots: tuple[int, ...] = (0, 1, 2, 4)
    seeds: int = 5
    score_modes: tuple[ScoreMode, ...] = get_args(ScoreMode)
    object_names: ObjectNames = "folder"

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise ValueError(f"expected methods of {', '.join(METHODS)}, got {', '.join(unknown)}")
        odd = [mode for mode in self.score_modes if mode not in get_args(ScoreMode)]
        if odd:
            raise ValueError(f"expected score modes of {', '.join(get_args(ScoreMode))}, got {', '.join(odd)}")
        if any(shots < 0 for shots in self.shots) or self.seeds < 1:
            raise ValueError(f"expected 0 shots or more and 1 seed or more, got {self.shots} and {self.seeds}")
        for name in ("methods", "shots", "score_modes"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if not self.trials():
            raise ValueError(f"nothing to evaluate: {'; '.join(self.undefined()) or 'no methods, shots or modes'}")

    def trials(self) -> tuple[Trial, ...]:
        """Every trial that is defined, those that share their references side by side."""
        return tuple(
            trial
            for shots in self.shots
            for seed in range(self.seeds if shots else 1)  # nothing is drawn without references
            for method in self.methods
            for trial in self._trials_of(method, shots, seed)
        )

    def undefined(self) -> list[str]:
        """What was asked for and has no meaning, a sentence each."""
        said = []
        wordless = [method for method in self.methods if method not in ZERO_SHOT]
        if 0 in self.shots and wordless:
            said.append(f"{', '.join(wordless)}: no row without references (0 shots)")
        offline = [method for method in self.methods if method in BASELINES]
        if "transductive" in self.score_modes and offline:
            said.append(f"{', '.join(offline)}: no transductive row, their papers score each picture alone")
        return said

    def _trials_of(self, method: str, shots: int, seed: int) -> Iterable[Trial]:
        modes = tuple(mode for mode in self.score_modes if method in SCORERS or mode == "streaming")
        if not modes or (shots == 0 and method not in ZERO_SHOT):
            return []
        together = [modes] if shots == 0 else [(mode,) for mode in modes]
        return [Trial(method=method, shots=shots, seed=seed, score_modes=these) for these in together]
