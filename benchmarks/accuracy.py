"""How well `lite` tells defects from good parts: textile pictures, report split, five draws of references."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import roc_auc_score

import core
from benchmarks import textile
from benchmarks.result import Result
from core.features import Features, joined
from core.scorer import never

SEEDS = range(5)
SHOTS = (1, 2, 4, 8)
BATCH = 8
MATCHED_AT_ONCE = 50
TARGET = 0.90


def results() -> Iterator[Result]:
    """Mean AUROC for each number of references; the target is for 8."""
    scorer = core.Scorer(core.load_encoder("lite", device="cpu"))
    pictures = [picture for kind in textile.KINDS for picture in textile.report(kind)]
    features = encode(scorer, pictures)
    kinds = np.array([picture.kind for picture in pictures])
    for shots in SHOTS:
        rows = np.array([_one_draw(scorer, features, kinds, shots, seed) for seed in SEEDS])
        mean, spread = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        names = ("all", "local", "global", "false_rejects", "detected_local", "detected_global")
        yield Result(
            name=f"textile_image_auroc_{shots}_shot",
            value=float(mean[0]),
            target=TARGET if shots == 8 else None,
            detail={
                "seeds": len(SEEDS),
                **{name: round(float(value), 4) for name, value in zip(names, mean, strict=True)},
                **{f"{name}_sd": round(float(value), 4) for name, value in zip(names, spread, strict=True)},
            },
        )


def encode(scorer: core.Scorer, pictures: list[textile.Picture]) -> Features:
    """Features of all pictures, a batch at a time."""
    return joined(
        [
            scorer.encode(
                [core.decode_image(picture.path.read_bytes()) for picture in pictures[start : start + BATCH]]
            )
            for start in range(0, len(pictures), BATCH)
        ]
    )


def _one_draw(
    scorer: core.Scorer, features: Features, kinds: np.ndarray, shots: int, seed: int
) -> tuple[float, ...]:
    samples = [
        core.Sample.from_bytes(picture.path.name, picture.path.read_bytes())
        for picture in textile.references(shots, seed=seed)
    ]
    enrolment = core.enrol(scorer, samples, product="linen")
    bank = scorer.prepare(enrolment.bank)
    score = scores(scorer, features, bank)
    good = score[kinds == "nominal"]
    parts = [score[kinds != "nominal"], score[kinds == "local"], score[kinds == "global"]]
    threshold = enrolment.thresholds.reject
    return (
        *(auroc(good, bad) for bad in parts),
        float((good > threshold).mean()),
        *(float((bad > threshold).mean()) for bad in parts[1:]),
    )


def scores(scorer: core.Scorer, features: Features, bank: core.PreparedBank) -> np.ndarray:
    """(N,) scores of N encoded pictures."""
    results: list[core.AnomalyResult] = []
    for start in range(0, len(features), MATCHED_AT_ONCE):
        part = features.rows(range(start, min(start + MATCHED_AT_ONCE, len(features))))
        results += scorer.match(part, [bank] * len(part), want_map=never)
    return np.array([result.score for result in results])


def auroc(good: np.ndarray, bad: np.ndarray) -> float:
    """Of good pictures' scores against defective ones'."""
    truth = np.r_[np.zeros(len(good)), np.ones(len(bad))]
    return float(roc_auc_score(truth, np.r_[good, bad]))
