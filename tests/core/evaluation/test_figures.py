"""Every row's figures are those of the product's own scores and maps, computed another way."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import core
from core.baselines.padim import PaDiM
from core.baselines.patchcore import PatchCore
from core.baselines.spade import Spade
from core.baselines.winclip import WinClip
from core.baselines.windows import WindowEncoder
from core.datasets import ObjectClass, draw_references, read_image, read_mask
from core.evaluation import METRICS, EvaluationOptions, Row
from core.image import Image
from core.metrics import PixelAccumulator, image_figures, vand_score
from core.text import Embed, april_gan_text_features
from tests.core.evaluation.rig import opened, panel_of, run

EVERY = ("bank", "april-gan", "sdp", "sdp+", "winclip", "patchcore", "padim", "spade")
NEAR = 1e-4
"""What rounding in other batches may do: the 200 thresholds of pro_cflow200 move with the largest value."""


def pictures_of(each: ObjectClass) -> list[Image]:
    return [read_image(item.image) for item in each.test]


def row_of(rows: Sequence[Row], **fields: object) -> Row:
    """The one row with these fields."""
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    return found


def assert_figures(row: Row, each: ObjectClass, scores: np.ndarray, maps: np.ndarray) -> None:
    """The row against scikit-learn, of all pictures and pixels at once, and where it has none core.metrics."""
    labels = np.array([item.anomalous for item in each.test])
    masks = np.stack([read_mask(item, maps.shape[1]) for item in each.test])
    expected = {
        "image_auroc": roc_auc_score(labels, scores),
        "image_ap": average_precision_score(labels, scores),
        "pixel_auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "pixel_ap": average_precision_score(masks.ravel(), maps.ravel()),
    }
    with tempfile.TemporaryDirectory(prefix="ag-") as spool, PixelAccumulator(Path(spool)) as accumulator:
        for anomaly_map, mask in zip(maps, masks, strict=True):
            accumulator.add(anomaly_map, mask)
        pixels = accumulator.figures()
    image_f1 = image_figures(labels, scores).f1_max
    expected |= {"image_f1_max": image_f1, "pixel_f1_max": pixels.f1_max}
    expected |= {"pro": pixels.pro, "pro_cflow200": pixels.pro_cflow200}
    expected["vand"] = vand_score([(image_f1, pixels.f1_max)])
    assert row.figures == pytest.approx(expected, abs=NEAR)


def test_every_method_has_every_row_once_and_all_metrics_in_range(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path
) -> None:
    rows = run(panel_of(lively_encoder, embed, *EVERY, shots=(0, 1), seeds=1), woven, work, "linen").rows
    found = [(row.object_class, row.method, row.shots, row.seed, row.score_mode) for row in rows]
    both, streaming = ("transductive", "streaming"), ("streaming",)
    expected = {
        ("linen", method, shots, 0, mode)
        for method in EVERY
        for shots in (0, 1)
        for mode in (both if method in EVERY[:4] else streaming)
        if shots or method in ("april-gan", "sdp", "sdp+", "winclip")
    }
    assert len(found) == len(set(found))
    assert set(found) == expected
    for row in rows:
        assert set(row.figures) == set(METRICS)
        assert all(value is not None and 0 <= value <= 1 for value in row.figures.values())


@pytest.mark.parametrize("method", ["bank", "april-gan", "sdp"])
def test_streaming_scores_and_maps_are_what_the_scorer_gives_for_the_same_bank(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path, method: str
) -> None:
    panel = panel_of(lively_encoder, embed, method, shots=(3,), score_modes=("streaming",))
    (each,) = opened(woven, "metal_nut").classes
    row = row_of(run(panel, woven, work, "metal_nut").rows, shots=3, seed=1)
    paths = draw_references(each, 3, seed=1)
    assert set(paths) != set(draw_references(each, 3, seed=0)), "another draw would pass for this one"
    samples = [core.Sample.from_bytes(str(path), path.read_bytes()) for path in paths]
    scorer = panel.scorers[method]
    bank = core.enrol(scorer, samples, product="p", object_name="metal_nut", embed=embed).bank
    images = pictures_of(each)
    results = scorer.score(images, [scorer.prepare(bank)] * len(images))
    scores = np.array([result.score for result in results])
    assert_figures(row, each, scores, np.stack([result.map for result in results]))
    references = panel.references(each, shots=3, seed=1)
    (trial,) = [trial for trial in panel.options.trials() if (trial.shots, trial.seed) == (3, 1)]
    judged = panel.judge(trial, each, references).judge(panel.look(images[:4]))
    np.testing.assert_allclose(judged.scores, scores[:4], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(judged.maps, [result.map for result in results[:4]], atol=1e-5)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("method", ["april-gan", "sdp+"])
def test_transductive_rows_are_those_of_paper_mode(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path, method: str, shots: int
) -> None:
    panel = panel_of(lively_encoder, embed, method, shots=(shots,), seeds=1, score_modes=("transductive",))
    (each,) = opened(woven, "metal_nut").classes
    rows = run(panel, woven, work, "metal_nut").rows
    scorer = panel.scorers[method]
    references = [read_image(path) for path in draw_references(each, shots, seed=0)]
    inspection = core.inspect(
        scorer,
        pictures_of(each),
        mode="paper",
        text=core.text_features(scorer, "metal_nut", embed),
        memory=core.paper_memory(scorer, references) if references else None,
    )
    row = row_of(rows, shots=shots, seed=0, score_mode="transductive")
    assert_figures(row, each, inspection.score, inspection.map)


def test_a_bank_alone_is_ranked_by_its_peaks_in_transductive_mode(
    lively_encoder: core.Encoder, woven: Path, work: Path
) -> None:
    panel = panel_of(lively_encoder, None, "bank", shots=(1,), seeds=1, score_modes=("transductive",))
    (each,) = opened(woven, "linen").classes
    (row,) = run(panel, woven, work, "linen").rows
    memory = core.paper_memory(
        panel.scorers["bank"], [read_image(path) for path in draw_references(each, 1, seed=0)]
    )
    inspection = core.inspect(panel.scorers["bank"], pictures_of(each), mode="paper", memory=memory)
    assert_figures(row, each, inspection.map.max(axis=(1, 2)), inspection.map)


@pytest.mark.parametrize("baseline", [PatchCore, PaDiM, Spade])
def test_baselines_see_the_encoders_features_of_the_same_references(
    lively_encoder: core.Encoder, woven: Path, work: Path, baseline: type[PatchCore]
) -> None:
    size = lively_encoder.image_size
    panel = panel_of(lively_encoder, None, baseline.name, shots=(2,), seeds=1)
    (each,) = opened(woven, "linen").classes
    (row,) = run(panel, woven, work, "linen").rows
    with torch.inference_mode():
        references = [read_image(path) for path in draw_references(each, 2, seed=0)]
        fitted = baseline(size=size).fit(lively_encoder.encode(references))
        judgement = fitted.judge(lively_encoder.encode(pictures_of(each)))
    assert_figures(row, each, judgement.scores.numpy(), judgement.maps.numpy())


@pytest.mark.parametrize("shots", [0, 2])
def test_winclip_sees_windows_and_the_names_words(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, work: Path, shots: int
) -> None:
    panel = panel_of(lively_encoder, embed, "winclip", shots=(shots,), seeds=1)
    (each,) = opened(woven, "metal_nut").classes
    (row,) = run(panel, woven, work, "metal_nut").rows
    windows = WindowEncoder(lively_encoder)
    winclip = WinClip(size=lively_encoder.image_size, text=april_gan_text_features(embed, "metal_nut"))
    references = [read_image(path) for path in draw_references(each, shots, seed=0)]
    with torch.inference_mode():
        fitted = winclip.fit(windows.encode(references)) if references else winclip.zero_shot()
        judgement = fitted.judge(windows.encode(pictures_of(each)))
    assert_figures(row, each, judgement.scores.numpy(), judgement.maps.numpy())


def test_a_method_has_the_same_rows_alone_and_in_company(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, tmp_path: Path
) -> None:
    few = {"shots": (0, 2), "seeds": 1}
    alone = run(panel_of(lively_encoder, embed, "april-gan", **few), woven, tmp_path / "1", "linen").rows
    company = run(
        panel_of(lively_encoder, embed, "sdp", "april-gan", "padim", **few), woven, tmp_path / "2", "linen"
    ).rows
    same = [row for row in company if row.method == "april-gan"]
    assert len(same) == len(alone)
    for one, other in zip(same, alone, strict=True):
        assert one.figures == pytest.approx(other.figures, abs=1e-4)


@pytest.mark.parametrize(
    ("policy", "says"), [("folder", "metal_nut"), ("words", "metal nut"), ("object", "object")]
)
def test_prompts_call_a_class_as_they_are_told(
    lively_encoder: core.Encoder, embed: Embed, woven: Path, policy: str, says: str
) -> None:
    heard: list[str] = []

    def listening(texts: Sequence[str]) -> torch.Tensor:
        heard.extend(texts)
        return embed(texts)

    panel = panel_of(lively_encoder, listening, "april-gan", object_names=policy)
    (each,) = opened(woven, "metal_nut").classes
    panel.judge(panel.options.trials()[0], each, panel.references(each, shots=0, seed=0))
    assert all(says in sentence for sentence in heard)
    assert heard


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": ("winklip",)}, "expected methods of april-gan"),
        ({"methods": ("bank",), "shots": (-1,)}, "0 shots or more"),
        ({"methods": ("bank",), "seeds": 0}, "1 seed or more"),
        ({"methods": ("bank",), "shots": (0,)}, "no row without references"),
        ({"methods": ("padim",), "score_modes": ("transductive",)}, "no transductive row"),
        ({"methods": ("bank",), "score_modes": ("paper",)}, "expected score modes"),
        ({"methods": ()}, "nothing to evaluate"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EvaluationOptions(**options)  # type: ignore[arg-type]
