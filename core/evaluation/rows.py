"""Rows of figures, and their means over classes and seeds. Fractions from 0 to 1; None where undefined."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from core.evaluation.options import METHODS, ScoreMode

METRICS = (
    "image_auroc",
    "image_f1_max",
    "image_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pixel_ap",
    "pro",
    "pro_cflow200",
    "vand",
)
Figures = Mapping[str, float | None]
"""One value for each of METRICS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One class, one draw of references (`seed`), one method, one way to make image scores."""

    object_class: str
    shots: int
    seed: int
    method: str
    score_mode: ScoreMode
    figures: Figures

    def as_json(self) -> dict[str, Any]:
        """As contract.md has it."""
        return {
            "class": self.object_class,
            "shots": self.shots,
            "seed": self.seed,
            "method": self.method,
            "score_mode": self.score_mode,
            **{metric: self.figures[metric] for metric in METRICS},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """The row that `as_json` gave. Raises KeyError or ValueError for anything else."""
        if value["method"] not in METHODS or value["score_mode"] not in get_args(ScoreMode):
            raise ValueError(f"no row of an evaluation: {value}")
        return cls(
            object_class=str(value["class"]),
            shots=int(value["shots"]),
            seed=int(value["seed"]),
            method=value["method"],
            score_mode=value["score_mode"],
            figures={metric: None if value[metric] is None else float(value[metric]) for metric in METRICS},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRow:
    """One method over all classes and seeds: per seed the plain mean over classes, of these the mean over seeds.

    deviations: the sample standard deviation over the seeds, None for fewer than two. undefined: by metric, how
    many class rows had none and were left out; only metrics with any.
    """

    shots: int
    seeds: int
    classes: int
    method: str
    score_mode: ScoreMode
    figures: Figures
    deviations: Figures
    undefined: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """As contract.md has it, and a `_sd` for each figure."""
        return {
            "shots": self.shots,
            "seed": self.seeds,
            "method": self.method,
            "score_mode": self.score_mode,
            "classes": self.classes,
            **{metric: self.figures[metric] for metric in METRICS},
            **{f"{metric}_sd": self.deviations[metric] for metric in METRICS},
            "undefined": dict(self.undefined),
        }


def mean_rows(rows: Sequence[Row]) -> list[MeanRow]:
    """A mean for every (shots, method, score mode), in the order in which these first appear."""
    groups: dict[tuple[int, str, ScoreMode], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.shots, row.method, row.score_mode), []).append(row)
    return [_mean(group) for group in groups.values()]


def mean(values: Iterable[float | None]) -> float | None:
    """Of what is defined; None where nothing is."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None


def deviation(values: Iterable[float | None]) -> float | None:
    """The sample standard deviation of what is defined; None for fewer than two."""
    defined = [value for value in values if value is not None]
    return statistics.stdev(defined) if len(defined) > 1 else None


def _mean(rows: Sequence[Row]) -> MeanRow:
    seeds = sorted({row.seed for row in rows})
    by_seed = {
        metric: [mean(row.figures[metric] for row in rows if row.seed == seed) for seed in seeds]
        for metric in METRICS
    }
    missing = {metric: sum(row.figures[metric] is None for row in rows) for metric in METRICS}
    return MeanRow(
        shots=rows[0].shots,
        seeds=len(seeds),
        classes=len({row.object_class for row in rows}),
        method=rows[0].method,
        score_mode=rows[0].score_mode,
        figures={metric: mean(by_seed[metric]) for metric in METRICS},
        deviations={metric: deviation(by_seed[metric]) for metric in METRICS},
        undefined={metric: count for metric, count in missing.items() if count},
    )
