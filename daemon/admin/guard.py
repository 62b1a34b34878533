"""Before a bank or a threshold takes charge: the known defects of its product are scored, and a miss stops it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import core
from core.decide import Thresholds
from core.image import Image
from daemon.admin.output import remark
from daemon.admin.session import Refused, Session
from daemon.feedback import Label, latest
from daemon.known_defects import Score, Trial, on_trial, read_cases

AllowMisses = Annotated[
    bool, typer.Option("--allow-misses", help="Go on although known defects would be accepted.")
]
BATCH = 8


def check_known_defects(
    session: Session,
    bank: core.ReferenceBank,
    thresholds: Thresholds,
    *,
    allow_misses: bool,
    scorer: core.Scorer | None = None,
) -> Trial:
    """Try a bank with its thresholds on every known defect of its product, and say how it did.

    scorer: None loads it where there is a case to score.

    Raises Refused, naming the keys, where a defect would be accepted and nobody allowed that.
    """
    defects = latest(session.records.database, product=bank.header.product, label=Label.DEFECT)
    cases, unreadable = read_cases(session.state_dir, defects)
    if unreadable:
        remark(f"{len(unreadable)} known defects have no picture and were not tested: {', '.join(unreadable)}")
    if not cases:
        return Trial(cases=0, missed=())
    trial = on_trial(cases, scored_by(scorer or session.scorer(), bank), thresholds)
    told = f"{trial.found} of {trial.cases} known defects of {bank.header.product} are found"
    if trial.missed and not allow_misses:
        raise Refused(
            f"{told}; these would be accepted: {', '.join(trial.missed)}. Nothing was changed. Lower "
            "the threshold, enrol again without the reference that hides them, or say --allow-misses"
        )
    remark(told + (f"; accepted from now on: {', '.join(trial.missed)}" if trial.missed else "."))
    return trial


def scored_by(scorer: core.Scorer, bank: core.ReferenceBank) -> Score:
    """The scores of pictures against a bank, a few at a time."""
    prepared = scorer.prepare(bank)

    def score(images: Sequence[Image]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(images), BATCH):
            part = list(images[start : start + BATCH])
            results = scorer.score(part, [prepared] * len(part), want_map=lambda index, score: False)
            scores += [result.score for result in results]
        return scores

    return score
