"""`dataset synth` and `dataset check`: what they write and say, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.datasets import open_dataset, read_image, read_mask
from daemon.admin.__main__ import main
from tests.core.datasets import sets
from tests.daemon.admin.conftest import Answer
from tests.daemon.patience import until

SMALL = (
    "--size",
    64,
    "--classes",
    "twill,gear",
    "--defects",
    "hole,stain",
    "--train",
    3,
    "--good",
    2,
    "--per-defect",
    2,
)


@pytest.fixture
def dataset(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run `aprilgan-admin dataset ARGUMENTS...`, which needs no installation."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main(["dataset", *map(str, arguments)])
        captured = capsys.readouterr()
        return Answer(int(code), captured.out, captured.err)

    return run


# ---------------------------------------------------------------------------------------- synth


def test_a_synthetic_set_opens_and_its_masks_mark_what_changed(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    answer = dataset("synth", "--out", tmp_path / "new" / "first", *SMALL)
    assert answer.code == 0, answer
    assert "Wrote 18 pictures" in answer.err
    found = open_dataset("mvtec", tmp_path / "new" / "first")
    assert [each.name for each in found.classes] == ["gear", "twill"]
    for each in found.classes:
        assert len(each.train) == 3
        assert [item.defect for item in each.test] == ["good"] * 2 + ["hole"] * 2 + ["stain"] * 2
        for item in each.test:
            assert read_image(item.image).shape == (64, 64, 3)
            assert read_mask(item, 64).any() == item.anomalous
    assert os.listdir(tmp_path / "new") == ["first"]


def test_the_same_options_give_the_same_set_and_another_seed_another(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert dataset("synth", "--out", tmp_path / name, *SMALL, "--seed", seed).code == 0
        digests.append(open_dataset("mvtec", tmp_path / name).digest())
    assert digests[0] == digests[1] != digests[2]


def test_what_is_held_out_is_left_out_and_counts_spread_over_all(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    counts = ("--size", 64, "--train", 1, "--good", 1, "--per-defect", 1)
    answer = dataset(
        "synth", "--out", tmp_path / "set", *counts, "--classes", 3, "--defects", "2", "--hold-out", "pile,specks"
    )
    assert answer.code == 0, answer
    names = [each.name for each in open_dataset("mvtec", tmp_path / "set").classes]
    assert len(names) == 2
    assert "pile" not in names
    all_but = dataset("synth", "--out", tmp_path / "other", *counts, "--classes", "pile", "--defects", "all")
    assert all_but.code == 0, all_but
    (pile,) = open_dataset("mvtec", tmp_path / "other").classes
    assert len(pile.test) > 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--classes", "tweed"], "herringbone"),
        (["--defects", "scratch,,hole"], "got ''"),
        (["--classes", "0"], "expected 1 to"),
        (["--classes", "1000"], "expected 1 to"),
        (["--hold-out", "nothing"], "got 'nothing'"),
        (["--classes", "twill", "--hold-out", "twill"], "leaves none"),
        (["--size", "63"], "--size"),
        (["--train", "0"], "--train"),
    ],
)
def test_wrong_usage_ends_with_2_and_writes_nothing(
    dataset: Callable[..., Answer], tmp_path: Path, options: list[str], says: str
) -> None:
    answer = dataset("synth", "--out", tmp_path / "set", *options)
    assert answer.code == 2
    assert says in " ".join(answer.err.split())
    assert os.listdir(tmp_path) == []


def test_a_folder_with_something_in_it_is_refused_and_left_alone(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    answer = dataset("synth", "--out", tmp_path, *SMALL)
    assert answer.code == 1
    assert f"{tmp_path}: expected an empty or a new folder" in answer.err
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_place_that_cannot_be_written_to_is_refused_in_words(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    answer = dataset("synth", "--out", tmp_path / "file" / "set", *SMALL)
    assert answer.code == 1
    assert answer.err.startswith(f"aprilgan-admin: cannot write {tmp_path}/file/set: ")


def test_the_folder_one_stands_in_can_be_filled(
    dataset: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert dataset("synth", "--out", ".", *SMALL).code == 0
    assert open_dataset("mvtec", tmp_path / "here").classes


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts background jobs deaf to SIGINT, and so would be all that the tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "left"), [(signal.SIGINT, []), (signal.SIGKILL, [".set-"])])
def test_a_run_that_is_ended_leaves_nothing_under_the_name(tmp_path: Path, number: int, left: list[str]) -> None:
    command = [sys.executable, "-m", "daemon.admin", "dataset", "synth", "--out", str(tmp_path / "set")]
    with subprocess.Popen([*command, "--classes", "all"], stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any(tmp_path.glob(".set-*/*/train/good/*.png")))
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in error
    assert [name[:5] for name in os.listdir(tmp_path)] == left


# ---------------------------------------------------------------------------------------- check


def test_a_sound_set_is_a_table_and_exit_code_0(dataset: Callable[..., Answer], tmp_path: Path) -> None:
    root = sets.write_mvtec(tmp_path / "mvtec")
    sets.write(root / "cloth" / "train" / "good" / "900.png", np.zeros((20, 30, 3), np.uint8))
    answer = dataset("check", "--dataset", "mvtec", "--root", root)
    assert (answer.code, answer.err) == (0, "Every picture and mask is sound.\n")
    assert "cloth      6      2     4          hole, pit  30x20 to 64x48" in answer.out


def test_the_json_of_a_sound_set_has_its_digest(dataset: Callable[..., Answer], tmp_path: Path) -> None:
    root = sets.write_visa(tmp_path / "visa")
    answer = dataset("check", "--dataset", "visa", "--root", root, "--classes", "pcb1", "--json")
    assert answer.code == 0
    assert answer.json == {
        "ok": True,
        "layout": "visa",
        "classes": [
            {"class": "pcb1", "train": 3, "good": 2, "defective": 2, "defects": ["anomaly"], "sizes": "64x48"}
        ],
        "faults": [],
        "digest": open_dataset("visa", root, classes=["pcb1"]).digest(),
    }


def test_every_fault_is_listed_and_the_exit_code_is_1(dataset: Callable[..., Answer], tmp_path: Path) -> None:
    root = sets.write_folder(tmp_path / "brackets")
    (root / "masks" / "hole" / "0.png").unlink()
    picture = root / "good" / "1.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    answer = dataset("check", "--dataset", "folder", "--root", root)
    assert answer.code == 1
    assert "2 faults:" in answer.err
    assert f"{root}/hole/0.jpg: has no mask" in answer.err
    assert f"{picture}: damaged JPEG" in answer.err
    listed = dataset("check", "--dataset", "folder", "--root", root, "--json")
    assert listed.code == 1
    assert (listed.json["ok"], listed.json["digest"], len(listed.json["faults"])) == (False, None, 2)


def test_a_long_list_of_faults_is_cut_for_people_and_whole_for_machines(
    dataset: Callable[..., Answer], tmp_path: Path
) -> None:
    root = sets.write_folder(tmp_path / "brackets")
    for number in range(60):
        (root / "good" / f"x{number}.png").touch()
    assert "… and 10 more (--json lists all)" in dataset("check", "--dataset", "folder", "--root", root).err
    assert len(dataset("check", "--dataset", "folder", "--root", root, "--json").json["faults"]) == 60


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--dataset", "mvtec", "--root", "nowhere"], 1, "nowhere: no such folder"),
        (["--dataset", "mvtec", "--root", "."], 1, "is no mvtec data set; expected CLASS/"),
        (["--dataset", "coco", "--root", "."], 2, "mvtec"),
        (["--root", "."], 2, "--dataset"),
        (["--dataset", "mvtec"], 2, "--root"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_line(
    dataset: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = dataset("check", *options)
    assert (answer.code, answer.out) == (code, "")
    assert says in answer.err
