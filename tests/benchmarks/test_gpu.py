"""What `make bench-gpu` does: its whole path with a tiny tower on a CPU, and its word where there is no GPU."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import __main__ as benchmarks
from benchmarks import gpu
from benchmarks.random_clip import RandomClip
from benchmarks.result import Result, save
from tests.tiny import TINY_CONFIG, TinyModel

LITTLE = gpu.Amount(batch=2, batches=2, singles=2, plain_frames=1, matrix=16)


@pytest.fixture
def clip(tiny_model: TinyModel, tmp_path) -> RandomClip:
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY_CONFIG))
    vision = TINY_CONFIG["vision_cfg"]
    return RandomClip(
        config=config,
        weights=tiny_model.weights,
        patch=vision["patch_size"],
        width=vision["width"],
        layers=vision["layers"],
        embed=TINY_CONFIG["embed_dim"],
    )


def test_every_row_is_measured_on_any_device_but_memory_which_only_a_gpu_tells(clip):
    rows = {row.name: row for row in gpu.measured(clip, device="cpu", size=32, amount=LITTLE)}
    assert list(rows) == list(gpu.TARGETS)
    assert rows.pop("gpu_match_extra_memory_over_bank").value is None
    assert all(row.value > 0 for row in rows.values())


def test_a_vit_l_frame_is_the_1_02_tflop_of_the_issue():
    clip = RandomClip(config=None, weights=None, patch=14, width=1024, layers=24, embed=768)
    assert clip.flop(518) == pytest.approx(1.02e12, rel=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_every_row_says_not_measured_and_nothing_is_missed_or_saved(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "SAVED", tmp_path)
    assert benchmarks.main(["gpu", "--save"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == list(gpu.TARGETS)
    assert {(line["ok"], line["value"], line["why"]) for line in lines} == {(None, None, "not measured: no GPU")}
    assert list(tmp_path.iterdir()) == []


def test_saved_results_hold_machine_and_date(tmp_path):
    path = save("speed", [Result(name="speed", value=2.0, target=1.8)], tmp_path / "results")
    (fields,) = json.loads(path.read_text())
    assert fields["ok"] is True
    assert fields["machine"]
    assert fields["at"]
