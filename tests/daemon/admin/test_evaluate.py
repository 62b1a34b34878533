"""`evaluate`: the papers' tables from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.evaluation.rig import write_set
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]

METRICS = {
    "image_auroc",
    "image_f1_max",
    "image_ap",
    "pixel_auroc",
    "pixel_f1_max",
    "pixel_ap",
    "pro",
    "pro_cflow200",
    "vand",
}


@pytest.fixture(scope="module")
def woven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "woven", train=3, good=2, bad=2)


def command(root: Path, *more: object) -> tuple[object, ...]:
    return ("evaluate", "--dataset", "mvtec", "--root", root, "--shots", "1", "--seeds", "1", *more)


def test_rows_means_table_and_pictures_are_written(admin: Admin, woven: Path, tmp_path: Path) -> None:
    out, page, pictures = tmp_path / "out.json", tmp_path / "out.md", tmp_path / "grids"
    answer = admin(*command(woven, "--json", out, "--markdown", page, "--pictures", pictures))
    assert answer.code == 0, answer.err
    document = json.loads(out.read_text())
    assert {row["class"] for row in document["rows"]} == {"linen", "metal_nut"}
    assert {row["score_mode"] for row in document["rows"]} == {"transductive", "streaming"}
    fields = {"shots", "seed", "method", "score_mode", *METRICS}
    assert all(set(row) == {"class", *fields} for row in document["rows"])
    assert all(fields <= set(row) for row in document["mean"])
    assert page.read_text().startswith("# tiny-clip on mvtec, 2 classes")
    assert sorted(path.name for path in pictures.iterdir()) == ["linen.png", "metal_nut.png"]
    assert "transductive" in answer.out


def test_words_take_a_text_tower_and_baselines_the_same_references(
    admin: Admin, woven: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    answer = admin(
        *command(woven, "--classes", "linen", "--shots", "0,1", "--method", "sdp,padim", "--json", out),
        *("--score-mode", "streaming", "--object", "words"),
    )
    assert answer.code == 0, answer.err
    assert "padim: no row without references" in answer.err
    rows = json.loads(out.read_text())["rows"]
    assert [(row["method"], row["shots"]) for row in rows] == [("sdp", 0), ("sdp", 1), ("padim", 1)]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--shots", "few"), 2, "whole numbers"),
        (("--shots", "-1"), 2, "0 shots or more"),
        (("--seeds", "0"), 2, "seeds"),
        (("--method", "winklip"), 2, "expected methods of april-gan"),
        (("--score-mode", "paper"), 2, "expected score modes"),
        (("--json", "nowhere/out.json"), 2, "nowhere/out.json"),
        (("--object", "name"), 2, "folder"),
        (("--method", "april-gan"), 1, "takes linear layers"),
        (("--classes", "wool"), 1, "wool"),
        (("--shots", "9"), 1, "linen"),
        (("--adapter", "nowhere.safetensors", "--method", "april-gan"), 1, "nowhere.safetensors"),
    ],
)
def test_wrong_usage_and_missing_things_are_refused_before_any_work(
    admin: Admin, woven: Path, tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    out = tmp_path / "out.json"
    answer = admin(*command(woven, "--json", out, *options))
    assert (answer.code, out.exists()) == (code, False)
    assert says in answer.err


def test_a_wrong_root_is_refused_by_name(admin: Admin, tmp_path: Path) -> None:
    answer = admin(*command(tmp_path / "nothing"))
    assert answer.code == 1
    assert "nothing: no such folder" in answer.err


def test_a_corrupt_picture_leaves_no_output_and_the_mended_set_resumes(
    admin: Admin, installation: Installation, tmp_path: Path
) -> None:
    root, out = write_set(tmp_path / "set", train=2, good=2, bad=2), tmp_path / "out.json"
    victim = root / "metal_nut/test/hole/001.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    broken = admin(*command(root, "--json", out))
    assert broken.code == 1
    assert "metal_nut/test/hole/001.png" in broken.err
    assert not out.exists()
    victim.write_bytes(whole)
    mended = admin(*command(root, "--json", out, "--resume"))
    assert mended.code == 0
    assert "linen: finished before, taken over" in mended.err
    assert {row["class"] for row in json.loads(out.read_text())["rows"]} == {"linen", "metal_nut"}
    assert (installation.state / "evaluate" / "classes" / "linen.json").exists()


def test_a_run_killed_outright_resumes_to_the_rows_of_a_whole_one(
    admin: Admin, installation: Installation, woven: Path, tmp_path: Path
) -> None:
    whole, resumed, work = tmp_path / "whole.json", tmp_path / "resumed.json", tmp_path / "work"
    quick = ("--score-mode", "transductive")
    assert admin(*command(woven, *quick, "--json", whole)).code == 0
    to_resume = command(woven, *quick, "--json", resumed, "--work", work)
    arguments = ["--config", installation.config, *to_resume]
    child = subprocess.run(
        [sys.executable, "-c", DIES_AFTER_ONE_CLASS, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=100,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert [path.name for path in (work / "classes").iterdir()] == ["linen.json"]
    assert (work / "spool").exists()
    answer = admin(*to_resume, "--resume")
    assert "linen: finished before, taken over" in answer.err
    one, other = (json.loads(path.read_text()) for path in (whole, resumed))
    assert (one["rows"], one["mean"]) == (other["rows"], other["mean"])
    assert not (work / "spool").exists()


DIES_AFTER_ONE_CLASS = """
import os, signal
from core.evaluation import run
from daemon.admin.__main__ import main

read = run.read_image

def deadly(path):
    if "metal_nut" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path)

run.read_image = deadly
main()
"""
