"""Parity: `score` with words says and saves what the method's independent statement in float64 says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.presets import CLIP_MEAN, CLIP_STD
from tests.adapters import write_adapter, write_reference_adapter
from tests.core.oracle import april_gan_numpy as april_gan
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats
from tests.core.oracle.clip_numpy import Clip, load_clip
from tests.daemon.admin.conftest import Answer
from tests.pictures import weave

CLOSE = 1e-4
NAME = "metal_nut"
WORDS = {"text_features", "zero_shot_stages", "map", "text_score", "score"}

Admin = Callable[..., Answer]
Saved = dict[str, np.ndarray]


@dataclass(frozen=True)
class Lively:
    """A CLIP with its linear layers, and pictures at its own size: what comes in is what the towers see."""

    clip: Clip
    model: tuple[str, ...]
    adapter: Path
    images: list[Path]
    references: list[Path]

    def oracle(self, *, against_references: bool) -> april_gan.Inspection:
        return april_gan.inspect(
            self.clip,
            pixels(self.images),
            text=april_gan.text_features(self.clip, NAME, tiny.tokenize),
            linears=tiny.lively_linears(),
            stages=tiny.STAGES,
            references=pixels(self.references) if against_references else None,
        )


def pixels(files: list[Path]) -> Floats:
    pictures = np.stack([cv2.imread(str(file))[:, :, ::-1] for file in files]).astype(np.float64) / 255
    return ((pictures - CLIP_MEAN) / CLIP_STD).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Lively:
    folder = tmp_path_factory.mktemp("lively")
    files = tiny.lively_tiny_clip(folder)

    def picture(seed: int, *, hole: bool = False) -> Path:
        path = folder / f"{seed}.png"
        cv2.imwrite(str(path), weave(seed, size=(tiny.IMAGE_SIZE, tiny.IMAGE_SIZE), hole=hole))
        return path

    return Lively(
        clip=load_clip(files.config, files.weights),
        model=("--model", str(files.config), "--weights", str(files.weights)),
        adapter=write_adapter(folder / "layers.safetensors", tiny.lively_linears()),
        images=[picture(1), picture(2), picture(3, hole=True), picture(4), picture(5, hole=True)],
        references=[picture(10), picture(11), picture(12)],
    )


@pytest.fixture
def score(admin: Admin, lively: Lively, tmp_path: Path) -> Callable[..., tuple[list[dict[str, object]], Saved]]:
    """Run `score --save-maps --json` on the pictures: its rows and what it saved."""

    def run(*arguments: object, adapter: Path = lively.adapter) -> tuple[list[dict[str, object]], Saved]:
        out = tmp_path / "out.npz"
        answer = admin(
            *("score", *lively.model, "--adapter", adapter, "--method", "april-gan", "--object", NAME),
            *(*arguments, "--save-maps", out, "--json", *lively.images),
        )
        assert answer.code == 0, answer.err
        with np.load(out) as saved:
            return answer.json, dict(saved)

    return run


Score = Callable[..., tuple[list[dict[str, object]], Saved]]


def referring(lively: Lively) -> list[object]:
    return [part for file in lively.references for part in ("--reference", file)]


@pytest.mark.parametrize("mode", ["paper", "streaming"])
def test_zero_shot_maps_and_scores_are_the_oracles(score: Score, lively: Lively, mode: str) -> None:
    rows, saved = score("--mode", mode)
    oracle = lively.oracle(against_references=False)
    assert set(saved) == WORDS
    assert all(array.dtype == np.float32 for array in saved.values())
    text = april_gan.text_features(lively.clip, NAME, tiny.tokenize)
    np.testing.assert_allclose(saved["text_features"], text, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["zero_shot_stages"], oracle.zero_shot_stages, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["map"], oracle.map, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["text_score"], oracle.text_score, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["score"], oracle.text_score, rtol=0, atol=CLOSE)
    assert [set(row) for row in rows] == [{"image", "score", "text_score"}] * len(lively.images)
    assert [row["image"] for row in rows] == [str(image) for image in lively.images]
    assert [row["text_score"] for row in rows] == pytest.approx(oracle.text_score, abs=CLOSE)


def test_few_shot_maps_and_scores_of_paper_mode_are_the_oracles(score: Score, lively: Lively) -> None:
    rows, saved = score(*referring(lively), "--mode", "paper")
    oracle = lively.oracle(against_references=True)
    assert set(saved) == WORDS | {"few_shot_stages"}
    np.testing.assert_allclose(saved["zero_shot_stages"], oracle.zero_shot_stages, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["few_shot_stages"], oracle.few_shot_stages, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["map"], oracle.map, rtol=0, atol=CLOSE)
    scores = april_gan.paper_image_scores(oracle.text_score, oracle.map)
    np.testing.assert_allclose(saved["score"], scores, rtol=0, atol=CLOSE)
    assert all(set(row) == {"image", "score", "text_score"} for row in rows)


def test_streaming_mode_matches_with_bounded_distances_and_a_provisional_threshold(
    score: Score, lively: Lively
) -> None:
    rows, saved = score(*referring(lively))
    oracle = lively.oracle(against_references=True)
    assert oracle.few_shot_stages is not None
    assert set(saved) == WORDS | {"few_shot_stages"}
    half = oracle.few_shot_stages / 2
    np.testing.assert_allclose(saved["few_shot_stages"], half, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(saved["map"], (half + oracle.zero_shot_stages).sum(axis=0), rtol=0, atol=CLOSE)
    assert [row["score"] for row in rows] == pytest.approx(saved["score"].tolist())
    assert {row["threshold_state"] for row in rows} == {"provisional"}
    assert all((row["decision"] == "reject") == (row["score"] > row["threshold"]) for row in rows)


def test_a_streaming_score_does_not_depend_on_the_other_pictures(
    score: Score, admin: Admin, lively: Lively
) -> None:
    together, _ = score(*referring(lively))
    alone = admin(
        *("score", *lively.model, "--adapter", lively.adapter, "--method", "april-gan", "--object", NAME),
        *(*referring(lively), "--json", lively.images[2]),
    ).json
    assert alone[0]["score"] == pytest.approx(together[2]["score"], abs=1e-5)


def test_the_references_checkpoint_scores_as_the_projects_file(
    score: Score, lively: Lively, tmp_path: Path
) -> None:
    published = write_reference_adapter(tmp_path / "visa.pth", tiny.lively_linears())
    _, theirs = score("--activation", "gelu", adapter=published)
    _, ours = score()
    np.testing.assert_array_equal(theirs["map"], ours["map"])


def test_linear_layers_without_a_named_method_mean_april_gan(admin: Admin, lively: Lively) -> None:
    command = ("score", *lively.model, "--adapter", lively.adapter, "--object", NAME, "--json", *lively.images)
    assert admin(*command).json == admin(*command, "--method", "april-gan").json


def test_a_part_without_a_name_is_called_object_and_a_remark_says_so(admin: Admin, lively: Lively) -> None:
    command = ("score", *lively.model, "--adapter", lively.adapter, "--json", *lively.images)
    unnamed = admin(*command)
    assert 'called "object"' in unnamed.err
    assert unnamed.json == admin(*command, "--object", "object").json
    assert unnamed.json != admin(*command, "--object", NAME).json


def test_method_bank_saves_what_references_give_and_nothing_of_words(
    admin: Admin, lively: Lively, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    answer = admin(
        *("score", *lively.model, "--method", "bank", "--object", NAME),
        *(*referring(lively), "--save-maps", out, "--json", *lively.images),
    )
    assert "changes no score" in answer.err
    assert all(row["text_score"] is None for row in answer.json)
    with np.load(out) as saved:
        assert set(saved.files) == {"few_shot_stages", "map", "score"}


@pytest.mark.parametrize("mode", ["paper", "streaming"])
def test_clip_ad_needs_no_linear_layers_and_sdp_plus_takes_them(admin: Admin, lively: Lively, mode: str) -> None:
    command = ("score", *lively.model, "--object", NAME, "--mode", mode, *referring(lively), "--json")
    plain = admin(*command, "--method", "sdp", *lively.images)
    layered = admin(*command, "--method", "sdp+", "--adapter", lively.adapter, *lively.images)
    assert plain.code == layered.code == 0, plain.err + layered.err
    assert [row["text_score"] for row in plain.json] != [None] * len(lively.images)
    assert plain.json != layered.json
    assert admin(*command, "--method", "sdp+", *lively.images).code == 1
