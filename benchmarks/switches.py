"""What each switch of method.md section 3 does to `lite`: textile pictures, *development* split, 8 references.

    python -m benchmarks switches

Not among `make bench`'s: it is there to choose by, and what was chosen stands in docs/notes/0004-switches.md. The
pictures are encoded once, so the switches that change how they are encoded (a region, the V-V path) are not here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import core
from benchmarks import textile
from benchmarks.accuracy import auroc, encode, scores
from benchmarks.result import Result
from core.features import Features

SEEDS = range(5)
SHOTS = 8
BARE = core.MatchOptions(budget=1024)
"""What the note compares with: `lite` before any of this was measured."""
FIGURES = ("all", "local", "global", "enrol_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A name, and what differs from BARE. match: fields of MatchOptions. statistics: of the score."""

    name: str
    match: dict[str, object]
    statistics: tuple[str, ...] = ("bank.4.top1", "bank.4.pool")


SWITCHES = (
    Switch(name="none", match={}),
    Switch(name="max_for_top1", match={}, statistics=("bank.4.max", "bank.4.pool")),
    *(
        Switch(name=f"smoothing_{sigma}px", match={"smoothing_px": float(sigma)})
        for sigma in (4, 6, 8, 10, 12, 16, 32)
    ),
    Switch(name="neighbourhood_3", match={"neighbourhood": 3}),
    Switch(name="neighbourhood_5", match={"neighbourhood": 5}),
    *(Switch(name=f"budget_{budget or 'all'}", match={"budget": budget}) for budget in (256, 512, 2048, None)),
    *(Switch(name=f"rotations_{turns}", match={"rotations": turns}) for turns in (2, 4, 8)),
    Switch(name="rotations_4_budget_4096", match={"rotations": 4, "budget": 4096}),
)


@dataclass(frozen=True, slots=True, eq=False)
class Development:
    """The split, encoded."""

    pictures: list[textile.Picture]
    features: Features

    def figures(self, scorer: core.Scorer, switch: Switch, seed: int) -> tuple[float, ...]:
        """AUROC of one draw of references, which are left out of it, and seconds to enrol."""
        drawn = textile.references(SHOTS, seed=seed)
        samples = [core.Sample.from_bytes(picture.path.name, picture.path.read_bytes()) for picture in drawn]
        start = time.perf_counter()
        match = replace(BARE, **switch.match)
        enrolment = core.enrol(scorer, samples, product="linen", match=match)
        seconds = time.perf_counter() - start
        score = scores(scorer, self.features, scorer.prepare(enrolment.bank))
        kinds = np.array(["reference" if picture in drawn else picture.kind for picture in self.pictures])
        good, defects = score[kinds == "nominal"], [np.isin(kinds, ("local", "global")), kinds == "local"]
        return (*(auroc(good, score[bad]) for bad in (*defects, kinds == "global")), seconds)


def results() -> Iterator[Result]:
    """Mean AUROC over the draws, a line a switch; gain: over BARE, draw by draw."""
    scorer = core.Scorer(core.load_encoder("lite", device="cpu"))
    pictures = [picture for kind in textile.KINDS for picture in textile.development(kind)]
    development = Development(pictures, encode(scorer, pictures))
    spec = scorer.encoder.spec
    unswitched = None
    for switch in SWITCHES:
        scorer.encoder.spec = replace(spec, statistics=switch.statistics)
        rows = np.array([development.figures(scorer, switch, seed) for seed in SEEDS])
        unswitched = rows if unswitched is None else unswitched
        gain = rows[:, 0] - unswitched[:, 0]
        mean, spread = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        yield Result(
            name=f"switch_{switch.name}_image_auroc",
            value=float(mean[0]),
            target=None,
            detail={
                "seeds": len(SEEDS),
                "shots": SHOTS,
                **{name: round(float(value), 4) for name, value in zip(FIGURES, mean, strict=True)},
                "all_sd": round(float(spread[0]), 4),
                "local_sd": round(float(spread[1]), 4),
                "gain": [round(float(value), 4) for value in gain],
            },
        )
