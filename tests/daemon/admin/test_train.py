"""`train`: options, what is refused before any work, what is written at the end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import core
from core.datasets import open_dataset
from core.training import TrainingOptions, class_text, paper_options, train_linear_layers
from tests.core.training.rig import write_dataset
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    write_dataset(root)
    return root


@pytest.fixture
def command(root: Path, tmp_path: Path) -> list[object]:
    return ["train", "--dataset", "mvtec", "--root", root, "--out", tmp_path / "layers.safetensors"]


def test_the_layers_are_those_of_the_library_and_score_takes_them(
    admin: Admin, installation: Installation, command: list[object], root: Path, tmp_path: Path, tiny_model: Any
) -> None:
    out = tmp_path / "layers.safetensors"
    answer = admin(*command, "--epochs", 1, "--seed", 3, "--hold-out", "stain", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["pictures"] == 8
    assert answer.json["held_out"] == 4
    assert 0 <= answer.json["held_out_pixel_auroc"] <= 1
    assert "epoch 1, loss" in answer.err
    words = core.load_text_encoder(str(tiny_model.config), weights=tiny_model.weights)
    (tmp_path / "work").mkdir()
    expected = train_linear_layers(
        core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu"),
        class_text("april-gan", words.embed),
        open_dataset("mvtec", root),
        TrainingOptions(epochs=1, seed=3, hold_out=("stain",), stitch_probability=0.2),
        work=tmp_path / "work",
    )
    assert out.read_bytes() == expected
    assert not (tmp_path / ".layers.safetensors.work").exists()
    scored = admin(
        "score", "--adapter", out, "--method", "april-gan", "--object", "nut", installation.bad, "--json"
    )
    assert scored.code == 0, scored.err


def test_the_papers_options_are_the_defaults_of_each_data_set() -> None:
    mvtec, visa, sdp = paper_options("mvtec"), paper_options("visa"), paper_options("mvtec", "sdp+")
    assert (mvtec.epochs, mvtec.stitch_probability, mvtec.learning_rate) == (3, 0.2, 1e-3)
    assert (visa.epochs, visa.stitch_probability, visa.betas) == (15, 0.0, (0.5, 0.999))
    assert (sdp.epochs, sdp.batch, sdp.learning_rate, sdp.stitch_probability) == (5, 8, 1e-4, 0.0)


def test_layers_for_sdp_are_trained_on_its_own_text_features(admin: Admin, command: list[object]) -> None:
    answer = admin(*command, "--method", "sdp+", "--epochs", 1, "--json")
    assert answer.code == 0, answer.err


def test_a_killed_training_goes_on_when_the_same_command_is_given_again(
    admin: Admin, installation: Installation, command: list[object], tmp_path: Path
) -> None:
    out, work = tmp_path / "layers.safetensors", tmp_path / "work"
    command = [*command, "--epochs", 2, "--work", work]
    killer = (
        "import os, signal, sys\n"
        "from core.training import linear_run\n"
        "save = linear_run.LinearRun._save\n"
        "def save_and_die(self):\n"
        "    save(self)\n"
        "    if self.epoch == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "linear_run.LinearRun._save = save_and_die\n"
        "from daemon.admin.__main__ import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["--config", str(installation.config), *map(str, command)]
    killed = subprocess.run([sys.executable, "-c", killer, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    other = admin(*command, "--seed", 1)
    assert other.code == 1
    assert "seed 0, now 1" in other.err
    answer = admin(*command)
    assert answer.code == 0, answer.err
    assert "Goes on from where it was stopped" in answer.err
    assert "epoch 1" not in answer.err
    resumed = out.read_bytes()
    assert admin(*command, "--overwrite").code == 0
    assert out.read_bytes() == resumed


def test_restart_forgets_what_was_stopped(admin: Admin, command: list[object], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "linear.checkpoint").write_bytes(b"damaged")
    command = [*command, "--epochs", 1, "--work", work]
    answer = admin(*command)
    assert answer.code == 1
    assert "linear.checkpoint" in answer.err
    assert admin(*command, "--restart").code == 0


def test_a_file_that_is_there_is_kept_unless_told_otherwise(
    admin: Admin, command: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "layers.safetensors"
    out.write_bytes(b"mine")
    answer = admin(*command, "--epochs", 1)
    assert answer.code == 1
    assert "--overwrite" in answer.err
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--hold-out", "rust"), 1, "cannot hold out rust"),
        (("--classes", "cable"), 1, "cable"),
        (("--classes", "cloth,"), 2, "expected names"),
        (("--out", "nowhere/x.safetensors"), 2, "in a folder that is there"),
        (("--out", "layers.pth"), 2, "FILE.safetensors"),
        (("--epochs", "0"), 2, "greater than or equal to 1"),
        (("--stitch", "2"), 2, "less than or equal to 1"),
        (("--lr", "0"), 1, "a learning rate above 0"),
        (("--dataset", "coco"), 2, "mvtec"),
        (("--words-steps", "5"), 2, "goes with --words-out"),
        (("--method", "bank"), 2, "april-gan"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(
    admin: Admin, command: list[object], tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    before = sorted(tmp_path.iterdir())
    answer = admin(*command, *options)
    assert answer.code == code
    assert says in answer.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_picture_without_its_mask_is_named_and_nothing_is_begun(
    admin: Admin, root: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(root, broken)
    mask = next((broken / "cloth" / "ground_truth" / "burn").iterdir())
    mask.unlink()
    out = tmp_path / "layers.safetensors"
    answer = admin("train", "--dataset", "mvtec", "--root", broken, "--out", out)
    assert answer.code == 1
    assert mask.name in answer.err
    assert not out.exists()
    assert not (tmp_path / ".layers.safetensors.work").exists()


def test_words_are_trained_first_and_the_layers_with_them(
    admin: Admin, command: list[object], tmp_path: Path
) -> None:
    words_out = tmp_path / "words.safetensors"
    answer = admin(
        *command, "--model", "lite", "--image-size", 64, "--epochs", 1, "--batch", 4, "--json",
        "--words-out", words_out, "--words-steps", 2,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    adapter = core.load_adapter(Path(json.loads(answer.out)["out"]))
    encoder = core.load_encoder("lite", weights=words_out, image_size=64, device="cpu", words=True)
    core.Scorer(encoder, method="april-gan", adapter=adapter)
