"""The words and linear layers that come with the product: the files of their card, and what they can do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import core
from core.metrics import PixelAccumulator
from core.packaged import ASSETS, packaged_layers, packaged_words
from core.synthetic import draw_picture
from core.towers import words_header

CARD = (ASSETS / "lite" / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scorer() -> core.Scorer:
    return core.load_scorer("lite", method="april-gan", device="cpu", precision="float32")


@pytest.mark.parametrize("path", [packaged_words("lite"), packaged_layers("lite")], ids=lambda path: path.name)
def test_the_card_names_the_digest_of_each_file(path: Path):
    assert hashlib.sha256(path.read_bytes()).hexdigest() in CARD


def test_both_files_together_stay_below_ten_megabytes():
    assert sum(file.stat().st_size for file in (ASSETS / "lite").iterdir()) < 10_000_000


def test_the_card_says_what_words_and_layers_were_trained_on_and_both_held_out_the_same():
    layers = core.load_adapter(packaged_layers("lite")).header.training
    words = words_header(packaged_words("lite"))["training"]
    assert layers["data_sha256"] in CARD
    assert words["data_sha256"] in CARD
    assert layers["options"]["hold_out"] == words["options"]["hold_out"]


@pytest.mark.parametrize("defect", ["crack", "fibre"])
def test_a_family_of_defects_that_no_training_saw_is_found_from_words_alone(
    scorer: core.Scorer, defect: str, tmp_path: Path
):
    pieces = [
        draw_picture(np.random.default_rng([7, number]), surface=surface, defect=defect, size=384)
        for number, surface in enumerate(("paper", "felt", "satin", "brushed_metal", "plastic", "stripes"))
    ]
    text = core.text_features(scorer, "surface", core.load_text_encoder("lite").embed)
    found = core.inspect(scorer, [piece.image for piece in pieces], mode="streaming", text=text, keep_stages=False)
    with PixelAccumulator(tmp_path) as pixels:
        for piece, heat in zip(pieces, found.map, strict=True):
            pixels.add(heat, piece.mask)
        assert pixels.figures().auroc > 0.9


def test_a_name_that_no_training_knew_says_much_the_same_of_states_as_a_known_one(scorer: core.Scorer):
    embed = core.load_text_encoder("lite").embed
    known, unknown = (core.text_features(scorer, name, embed) for name in ("woven fabric", "dragon fruit"))
    apart = [(text[1] - text[0]) / (text[1] - text[0]).norm() for text in (known, unknown)]
    assert float(apart[0] @ apart[1]) > 0.7


def test_words_scores_and_banks_work_together_offline(scorer: core.Scorer):
    embed = core.load_text_encoder("lite").embed
    good = [
        draw_picture(np.random.default_rng([8, number]), surface="felt", defect=None, size=256, product=3)
        for number in range(4)
    ]
    samples = [core.Sample.from_array(str(number), piece.image) for number, piece in enumerate(good)]
    bank = core.enrol(scorer, samples, product="felt", object_name="felt", embed=embed).bank
    assert "text.top1" in bank.header.rule.statistics
    result = scorer.score([good[0].image], [scorer.prepare(bank)])[0]
    assert np.isfinite(result.score)
    assert 0 <= (result.text_score or 0) <= 1


def test_words_alone_add_the_log_odds_of_the_picture_and_of_its_worst_places(scorer: core.Scorer):
    pieces = [
        draw_picture(np.random.default_rng([9, n]), surface="paper", defect=None, size=128) for n in range(2)
    ]
    images = [piece.image for piece in pieces]
    text = core.text_features(scorer, "paper", core.load_text_encoder("lite").embed)
    found = core.inspect(scorer, images, mode="streaming", text=text, keep_stages=False)
    statistics = scorer.evidence(scorer.encode(images), None, text).statistics
    expected = statistics["text.top1"] + statistics["text.logit"]
    np.testing.assert_allclose(found.score, expected.numpy(), rtol=1e-4, atol=1e-3)
    paper = core.inspect(scorer, images, mode="paper", text=text, keep_stages=False)
    np.testing.assert_array_equal(paper.score, paper.text_score)
