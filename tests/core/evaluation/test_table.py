"""Rows to means, to Markdown, and which published row stands beside which measured one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import core
from core.evaluation import METRICS, EvaluationOptions, Row, as_json, as_markdown
from core.evaluation.pictures import CELL, choose, colour_scale
from core.evaluation.published import published
from core.evaluation.rows import mean_rows
from core.evaluation.table import TITLES, Setting, markdown
from core.presets import PRESETS
from core.text import Embed
from tests.core.evaluation.rig import opened, panel_of, run


def row(
    value: float | None, *, name: str = "linen", seed: int = 0, method: str = "april-gan", shots: int = 4
) -> Row:
    figures = dict.fromkeys(METRICS, value)
    return Row(
        object_class=name, shots=shots, seed=seed, method=method, score_mode="transductive", figures=figures
    )


def setting(name: str = "april-gan", *, layout: str = "mvtec", classes: int = 15) -> Setting:
    return Setting(layout=layout, classes=classes, encoder=PRESETS[name], facts={"machine": "this"})  # type: ignore[arg-type]


def test_a_mean_is_over_classes_first_and_deviates_over_seeds() -> None:
    rows = [row(0.2), row(0.4, name="nut"), row(0.6, seed=1), row(1.0, name="nut", seed=1)]
    (mean,) = mean_rows(rows)
    assert mean.figures["pro"] == pytest.approx((0.3 + 0.8) / 2)
    assert mean.deviations["pro"] == pytest.approx(np.std([0.3, 0.8], ddof=1))
    assert (mean.classes, mean.seeds, mean.undefined) == (2, 2, {})


def test_what_is_undefined_is_left_out_of_means_and_counted() -> None:
    (mean,) = mean_rows([row(None), row(0.4, name="nut"), row(None, seed=1), row(None, name="nut", seed=1)])
    assert mean.figures["image_ap"] == pytest.approx(0.4)
    assert mean.deviations["image_ap"] is None
    assert mean.undefined["image_ap"] == 3
    (nothing,) = mean_rows([row(None)])
    assert nothing.figures["image_ap"] is None


def test_rows_survive_json_exactly() -> None:
    before = replace(row(None), figures={metric: 1 / (3 + place) for place, metric in enumerate(METRICS)})
    assert Row.from_json(json.loads(json.dumps(before.as_json()))) == before


def test_the_papers_row_stands_beside_the_same_model_data_and_shots() -> None:
    page = markdown([row(0.5)], mean_rows([row(0.5)]), setting())
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    measured, theirs = lines[2:4]
    assert measured.startswith("| april-gan | 4 | 1 | transductive | 50.0 |")
    assert theirs.startswith("| *published: APRIL-GAN, arXiv 2305.17382* | 4 |")
    cells = dict(zip(TITLES, [cell.strip() for cell in theirs.split("|")[5:]], strict=False))
    assert cells == {
        "pixel_auroc": "95.9",
        "pixel_f1_max": "56.9",
        "pixel_ap": "54.5",
        "pro": "-",
        "pro_cflow200": "91.8",
        "image_auroc": "92.8",
        "image_f1_max": "92.8",
        "image_ap": "96.3",
        "vand": "-",
    }


@pytest.mark.parametrize(
    ("method", "encoder", "layout", "shots", "classes"),
    [
        ("april-gan", PRESETS["lite"], "mvtec", 4, 15),
        ("april-gan", replace(PRESETS["april-gan"], activation="quickgelu"), "mvtec", 4, 15),
        ("april-gan", replace(PRESETS["april-gan"], image_size=336), "mvtec", 4, 15),
        ("april-gan", PRESETS["april-gan"], "folder", 4, 15),
        ("april-gan", PRESETS["april-gan"], "mvtec", 4, 1),
        ("april-gan", PRESETS["april-gan"], "mvtec", 2, 15),
        ("winclip", PRESETS["april-gan"], "mvtec", 0, 15),
        ("patchcore", PRESETS["april-gan"], "mvtec", 1, 15),
    ],
)
def test_what_is_not_comparable_has_no_published_row(method, encoder, layout, shots, classes) -> None:
    assert published(method, layout, shots, encoder=encoder, classes=classes) is None


def test_a_page_says_what_is_missing_and_how_often() -> None:
    rows = [row(None, method="padim"), row(0.5, name="nut", method="padim")]
    page = markdown(rows, mean_rows(rows), setting(classes=2))
    assert "for padim with 4 shots" in page
    assert "PRO of padim, 4 shots, transductive: not defined for 1 of 2 class rows" in page
    assert "| padim | 4 | 1 | transductive | - | - |" in page
    assert page.count("### ") == 2


def test_the_document_has_the_contracts_fields_and_is_strict_json(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path
) -> None:
    panel = panel_of(lively_encoder, embed, "april-gan", shots=(0,), seeds=3)
    evaluation, dataset = run(panel, woven, work), opened(woven)
    document = json.loads(json.dumps(as_json(evaluation, panel, dataset), allow_nan=False))
    fields = {"shots", "seed", "method", "score_mode", *METRICS}
    assert all(set(row) == {"class", *fields} for row in document["rows"])
    assert all(fields <= set(row) and "class" not in row for row in document["mean"])
    assert {row["seed"] for row in document["rows"]} == {0}
    assert {row["seed"] for row in document["mean"]} == {1}, "nothing is drawn without references"
    assert len(document["rows"]) == 2 * 2
    assert document["meta"]["encoder"]["id"] == lively_encoder.id
    assert document["meta"]["dataset"]["sha256"] == evaluation.digests
    page = as_markdown(evaluation, panel, dataset)
    assert lively_encoder.id in page


def test_one_look_serves_both_score_modes_without_references() -> None:
    options = EvaluationOptions(methods=("april-gan",), shots=(0, 1), seeds=1)
    assert [(trial.shots, trial.score_modes) for trial in options.trials()] == [
        (0, ("transductive", "streaming")),
        (1, ("transductive",)),
        (1, ("streaming",)),
    ]


def test_a_grid_shows_a_row_a_picture_and_a_column_a_method(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path
) -> None:
    panel = panel_of(lively_encoder, embed, "bank", "april-gan", shots=(0, 1), seeds=1)
    evaluation = run(panel, woven, work, "linen", pictures=True)
    picture = cv2.imdecode(np.frombuffer(evaluation.pictures["linen"], np.uint8), cv2.IMREAD_COLOR)
    height, width, _ = picture.shape
    assert width // CELL == 2 + 2
    assert height // CELL == 6
    resumed = run(panel, woven, work, "linen", pictures=True, resume=True)
    assert resumed.pictures == evaluation.pictures


def test_a_grid_chooses_middling_and_worst_good_parts_best_and_worst_found_defects() -> None:
    labels = np.array([False] * 3 + [True] * 6)
    scores = np.array([0.1, 0.3, 0.2, 0.9, 0.15, 0.5, 0.6, 0.7, 0.4], dtype=np.float32)
    assert choose(labels, scores) == [2, 1, 3, 7, 8, 4]
    assert choose(np.array([True, True]), np.array([0.1, 0.2], dtype=np.float32)) == [1, 0]
    assert choose(np.array([False]), np.array([0.1], dtype=np.float32)) == [0]


def test_a_scale_grows_even_where_maps_are_constant() -> None:
    low, high = colour_scale(np.zeros((2, 4, 4), np.float32), [np.zeros((4, 4), np.bool_)] * 2)
    assert high > low
