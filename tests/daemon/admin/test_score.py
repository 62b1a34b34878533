"""`score`: files against references, without daemon or database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import core
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]


def test_parts_with_a_hole_score_above_good_ones_and_nothing_is_stored(
    admin: Admin, installation: Installation
) -> None:
    answer = admin("score", "--reference", installation.good, installation.more, installation.bad, "--json")
    rows = answer.json
    assert len(rows) == 14
    good, bad = rows[:12], rows[12:]
    assert min(row["score"] for row in bad) > max(row["score"] for row in good)
    assert all(row["decision"] == "reject" for row in bad)
    assert not installation.state.exists()


def test_the_scores_and_maps_are_those_of_the_library(
    admin: Admin, installation: Installation, tiny_scorer: core.Scorer, tmp_path: Path
) -> None:
    out = tmp_path / "maps.out"
    rows = admin("score", "--reference", installation.good, installation.bad, "--save-maps", out, "--json").json
    references, pictures = (
        [core.Sample.from_bytes(str(file), file.read_bytes()) for file in sorted(folder.iterdir())]
        for folder in (installation.good, installation.bad)
    )
    bank = tiny_scorer.prepare(core.enrol(tiny_scorer, references, product="p").bank)
    results = tiny_scorer.score([picture.image for picture in pictures], [bank] * len(pictures))
    assert [row["score"] for row in rows] == pytest.approx([result.score for result in results], abs=1e-5)
    saved = np.load(out)
    size = tiny_scorer.encoder.image_size
    assert saved["few_shot_stages"].shape == (len(tiny_scorer.encoder.stages), 2, size, size)
    assert all(saved[name].dtype == np.float32 for name in saved.files)
    np.testing.assert_allclose(saved["map"], np.stack([result.map for result in results]), atol=1e-5)
    np.testing.assert_allclose(saved["few_shot_stages"].sum(axis=0), saved["map"], atol=1e-5)
    np.testing.assert_allclose(saved["score"], [result.score for result in results], rtol=1e-6)


def test_the_model_is_the_settings_unless_options_say_otherwise(admin: Admin, installation: Installation) -> None:
    command = ("score", "--reference", installation.good, installation.bad, "--json")
    configured = admin(*command).json
    assert admin(*command, "--stages", "1,3").json != configured
    assert admin(*command, "--image-size", "64").json != configured
    lite = installation.config.read_text().replace("preset", "# preset").replace("weights", "# weights")
    config, weights = (
        line.split('"')[1]
        for line in installation.config.read_text().splitlines()
        if line[:6] in ("preset", "weight")
    )
    installation.config.write_text(lite)
    assert admin(*command, "--model", config, "--weights", weights).json == configured


def test_method_bank_without_references_is_wrong_usage(admin: Admin, installation: Installation) -> None:
    answer = admin("score", installation.bad)
    assert answer.code == 2
    assert "one good part or more" in answer.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--stages", "two"), "whole numbers"),
        (("--activation", "relu"), "gelu"),
        (("--method", "winclip"), "april-gan"),
        (("--mode", "batch"), "streaming"),
        (("--image-size", "8"), "16"),
        (("--save-maps", "nowhere/out.npz"), "nowhere is no folder"),
    ],
)
def test_an_option_that_no_data_could_make_right_is_wrong_usage(
    admin: Admin, installation: Installation, options: tuple[str, str], says: str
) -> None:
    answer = admin("score", "--reference", installation.good, installation.bad, *options)
    assert answer.code == 2
    assert says in answer.err
