"""`lite` with words and linear layers beside `lite` with banks alone: textile pictures, report split, five draws.

    python -m benchmarks lite_words

None of these pictures was used to train words or layers. One line a method and number of references; both methods
see the same features and the same references.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import core
from benchmarks import textile
from benchmarks.accuracy import SEEDS, SHOTS, auroc, encode, scores
from benchmarks.result import Result
from core.features import Features
from core.inspection import inspect_features

OBJECT = "woven fabric"
TARGETS = {(0, "april-gan"): ("local", 0.80), (8, "april-gan"): ("all", 0.95)}
AT_ONCE = 50


def results() -> Iterator[Result]:
    """Zero-shot first, then each number of references with and without words."""
    worded = core.load_scorer("lite", method="april-gan", device="cpu", precision="float32")
    embed = core.load_text_encoder("lite").embed
    pictures = [picture for kind in textile.KINDS for picture in textile.report(kind)]
    kinds = np.array([picture.kind for picture in pictures])
    features = encode(worded, pictures)
    yield _result(0, "april-gan", [_split(_zero_shot(worded, features, embed), kinds)])
    for shots in SHOTS:
        for scorer in (core.Scorer(worded.encoder, method="bank"), worded):
            draws = []
            for seed in SEEDS:
                samples = [
                    core.Sample.from_bytes(picture.path.name, picture.path.read_bytes())
                    for picture in textile.references(shots, seed=seed)
                ]
                enrolment = core.enrol(scorer, samples, product="linen", object_name=OBJECT, embed=embed)
                draws.append(_split(scores(scorer, features, scorer.prepare(enrolment.bank)), kinds))
            yield _result(shots, scorer.method, draws)


def _zero_shot(scorer: core.Scorer, features: Features, embed: object) -> np.ndarray:
    text = core.text_features(scorer, OBJECT, embed)
    parts = [
        inspect_features(
            scorer,
            features.rows(range(start, min(start + AT_ONCE, len(features)))),
            mode="streaming",
            text=text,
            keep_stages=False,
        ).score
        for start in range(0, len(features), AT_ONCE)
    ]
    return np.concatenate(parts)


def _split(score: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    good = score[kinds == "nominal"]
    parts = {"all": kinds != "nominal", "local": kinds == "local", "global": kinds == "global"}
    return {name: auroc(good, score[rows]) for name, rows in parts.items()}


def _result(shots: int, method: str, draws: Sequence[dict[str, float]]) -> Result:
    """value: against the kind of defect that the target names, all kinds where there is no target."""
    judged, target = TARGETS.get((shots, method), ("all", None))
    columns = {name: np.array([draw[name] for draw in draws]) for name in draws[0]}
    spread = {f"{name}_sd": float(np.std(column, ddof=1)) for name, column in columns.items() if len(draws) > 1}
    figures = {name: float(column.mean()) for name, column in columns.items()} | spread
    return Result(
        name=f"textile_{method}_{shots}_shot_{judged}",
        value=float(columns[judged].mean()),
        target=target,
        detail={"draws": len(draws), **{name: round(value, 4) for name, value in figures.items()}},
    )
