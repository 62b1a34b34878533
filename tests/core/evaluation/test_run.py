"""How an evaluation runs: in a stream, in any order and grouping, through kills, and never on bad input."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.datasets import read_image as real_read_image
from core.errors import DatasetError, EncoderError, EnrolmentError
from core.evaluation import Evaluation, Panel, evaluate
from core.evaluation import run as running
from core.evaluation.judges import Judged
from core.evaluation.tally import Tally
from core.evaluation.work_folder import WorkFolder, work_folder
from core.image import Image
from core.text import Embed
from tests.core.evaluation.rig import opened, panel_of, run, save, write_set
from tests.core.oracle import tiny

NEAR = 1e-4
"""What other company in a batch may do to a figure."""


@pytest.fixture
def bank(lively_encoder: core.Encoder) -> Panel:
    """The cheapest panel that has references: two trials."""
    return panel_of(lively_encoder, None, "bank", shots=(1,), seeds=1)


class Reads:
    """Stands in for `read_image` of test pictures: remembers them, and dies where it is told to."""

    def __init__(self, *, dies_at: str = "nowhere") -> None:
        self.paths: list[Path] = []
        self._dies_at = dies_at

    def __call__(self, path: Path) -> Image:
        if self._dies_at in str(path):
            raise KeyboardInterrupt
        self.paths.append(path)
        return real_read_image(path)


def as_json(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [*(row.as_json() for row in evaluation.rows), *(row.as_json() for row in evaluation.mean)]


def assert_near(one: Evaluation, other: Evaluation) -> None:
    assert len(one.rows) == len(other.rows)
    for mine, theirs in zip(one.rows, other.rows, strict=True):
        assert replace(mine, figures={}) == replace(theirs, figures={})
        assert mine.figures == pytest.approx(theirs.figures, abs=NEAR)


def test_every_picture_is_read_once_for_all_trials(
    bank: Panel, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads()
    monkeypatch.setattr(running, "read_image", reads)
    dataset = opened(woven)
    evaluate(bank, dataset, work=work)
    assert reads.paths == [item.image for each in dataset.classes for item in each.test]


def test_trials_that_do_not_fit_together_give_the_same_rows_in_more_passes(
    bank: Panel, woven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = run(bank, woven, tmp_path / "1", "linen")
    reads = Reads()
    monkeypatch.setattr(running, "read_image", reads)
    said: list[str] = []
    apart = run(bank, woven, tmp_path / "2", "linen", trials_at_once=1, remark=said.append)
    assert as_json(apart) == as_json(together)
    assert len(reads.paths) == 2 * len(set(reads.paths))
    assert any("2 passes" in sentence for sentence in said)


@pytest.mark.parametrize("batch", [1, 7])
def test_neither_order_nor_batches_of_the_pictures_matter(
    bank: Panel, woven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    dataset = opened(woven, "linen")
    (each,) = dataset.classes
    backwards = replace(dataset, classes=(replace(each, test=each.test[::-1]),))
    expected = evaluate(bank, dataset, work=tmp_path / "1")
    monkeypatch.setattr(running, "BATCH", batch)
    assert_near(evaluate(bank, backwards, work=tmp_path / "2"), expected)


def test_no_map_outlives_its_batch(bank: Panel, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []
    add = Tally.add

    def watched(tally: Tally, judged: Judged, masks: Sequence[np.ndarray], names: Sequence[str]) -> None:
        alive.append(sum(map_() is not None for map_ in seen))
        seen.append(weakref.ref(judged.maps))
        add(tally, judged, masks, names)

    monkeypatch.setattr(Tally, "add", watched)
    monkeypatch.setattr(running, "BATCH", 1)
    run(bank, woven, work, "linen")
    assert len(seen) == 2 * 9
    assert max(alive) <= 1  # the trial before is let go once this one has judged


def test_a_killed_run_resumes_to_the_same_rows(
    bank: Panel, woven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(bank, woven, tmp_path / "whole")
    monkeypatch.setattr(running, "read_image", Reads(dies_at="metal_nut/test/hole"))
    with pytest.raises(KeyboardInterrupt):
        run(bank, woven, tmp_path / "killed")
    (tmp_path / "killed" / "spool" / "0").mkdir(parents=True)  # what SIGKILL leaves
    reads = Reads()
    monkeypatch.setattr(running, "read_image", reads)
    resumed = run(bank, woven, tmp_path / "killed", resume=True)
    assert as_json(resumed) == as_json(expected)
    assert all("metal_nut" in str(path) for path in reads.paths)
    assert not (tmp_path / "killed" / "spool").exists()


def test_without_resume_finished_classes_are_evaluated_again(
    bank: Panel, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(bank, woven, work, "linen")
    reads = Reads()
    monkeypatch.setattr(running, "read_image", reads)
    run(bank, woven, work, "linen")
    assert len(reads.paths) == 9


def test_resume_ignores_what_was_finished_with_other_options_or_data_and_says_so(
    bank: Panel, lively_encoder: core.Encoder, tmp_path: Path
) -> None:
    root, work = write_set(tmp_path / "set", classes=("linen",)), tmp_path / "work"
    run(bank, root, work)
    said: list[str] = []
    other = panel_of(lively_encoder, None, "bank", shots=(2,), seeds=1)
    rows = run(other, root, work, resume=True, remark=said.append).rows
    assert {row.shots for row in rows} == {2}
    assert any("with another encoder, data or options" in sentence for sentence in said)
    picture = next((root / "linen/test/good").iterdir())
    save(picture, np.zeros((48, 64, 3), dtype=np.uint8))
    said.clear()
    run(other, root, work, resume=True, remark=said.append)
    assert any("with another encoder, data or options" in sentence for sentence in said)
    said.clear()
    run(other, root, work, resume=True, remark=said.append)
    assert said == ["linen: finished before, taken over"]


def test_a_finished_class_that_cannot_be_read_is_evaluated_again(bank: Panel, woven: Path, work: Path) -> None:
    expected = run(bank, woven, work, "linen")
    (work / "classes" / "linen.json").write_text('{"key": "x", "rows": [{"class"', encoding="utf-8")
    assert as_json(run(bank, woven, work, "linen", resume=True)) == as_json(expected)


def test_a_grid_of_other_rows_is_not_taken_over(bank: Panel, woven: Path, work: Path) -> None:
    other = panel_of(bank.encoder, None, "bank", shots=(2,), seeds=1, score_modes=("transductive",))
    drawn = run(other, woven, work, "linen", pictures=True).pictures
    run(bank, woven, work, "linen")
    said: list[str] = []
    redrawn = run(bank, woven, work, "linen", pictures=True, resume=True, remark=said.append).pictures
    assert redrawn != drawn
    assert said == ["linen: finished before without its picture grid, evaluated again"]


def test_a_class_without_defects_has_no_figures_and_means_leave_it_out(
    bank: Panel, woven: Path, work: Path
) -> None:
    dataset = opened(woven)
    first, second = dataset.classes
    good_only = replace(first, test=tuple(item for item in first.test if not item.anomalous))
    evaluation = evaluate(bank, replace(dataset, classes=(good_only, second)), work=work)
    undefined, defined = evaluation.rows[:2], evaluation.rows[2:]
    assert all(value is None for row in undefined for value in row.figures.values())
    for mean, row in zip(evaluation.mean, defined, strict=True):
        assert mean.figures == pytest.approx(row.figures)
        assert set(mean.undefined.values()) == {1}


def test_a_corrupt_picture_ends_the_run_by_name_and_finished_classes_stay(bank: Panel, tmp_path: Path) -> None:
    root, work = write_set(tmp_path / "set"), tmp_path / "work"
    victim = root / "metal_nut/test/hole/003.png"
    whole = victim.read_bytes()
    dataset = opened(root)
    victim.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"metal_nut/test/hole/003\.png"):
        evaluate(bank, dataset, work=work)
    assert [path.name for path in (work / "classes").iterdir()] == ["linen.json"]
    assert not (work / "spool").exists()


def test_too_few_references_are_refused_before_any_work(
    lively_encoder: core.Encoder, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads()
    monkeypatch.setattr(running, "read_image", reads)
    with pytest.raises(DatasetError, match=r"linen: .*9 references"):
        run(panel_of(lively_encoder, None, "bank", shots=(1, 9)), woven, work)
    assert not reads.paths


def test_references_of_several_sizes_can_be_enrolled(bank: Panel, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", classes=("linen",), train=2)
    first, _ = sorted((root / "linen/train/good").iterdir())
    save(first, np.ascontiguousarray(real_read_image(first)[:40, :50]))
    panel = panel_of(bank.encoder, None, "bank", shots=(2,), seeds=1, score_modes=("streaming",))
    assert run(panel, root, tmp_path / "work").rows


def test_references_that_are_one_picture_are_refused_by_name(lively_encoder: core.Encoder, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", classes=("linen",), train=2)
    first, second = sorted((root / "linen/train/good").iterdir())
    second.write_bytes(first.read_bytes())
    panel = panel_of(lively_encoder, None, "bank", shots=(2,), seeds=1)
    with pytest.raises(EnrolmentError, match="are the same picture"):
        run(panel, root, tmp_path / "work")


def test_a_disk_without_room_for_one_trial_is_refused_before_any_work(
    bank: Panel, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkFolder, "free_bytes", 9 * 32 * 32 * 3)
    with pytest.raises(DatasetError, match="a larger disk"):
        run(bank, woven, work)


def test_a_disk_with_room_for_one_trial_takes_a_pass_for_each(
    bank: Panel, woven: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkFolder, "free_bytes", 2 * 9 * 32 * 32 * 3)
    said: list[str] = []
    run(bank, woven, work, "linen", remark=said.append)
    assert "2 passes" in said[-1]


def test_two_evaluations_cannot_share_a_work_folder(bank: Panel, woven: Path, work: Path) -> None:
    with work_folder(work), pytest.raises(DatasetError, match="another evaluation is at work"):
        run(bank, woven, work)


@pytest.mark.parametrize(
    ("method", "says"),
    [("sdp", "VisionTransformer"), ("winclip", "needs a ViT")],
)
def test_a_method_that_the_encoder_cannot_do_is_refused_with_the_reason(
    tmp_path: Path, embed: Embed, method: str, says: str
) -> None:
    with pytest.raises(EncoderError, match=says):
        panel_of(_cnn(tmp_path), embed, method)


def test_words_without_a_text_tower_and_layers_that_nobody_takes_are_refused(
    lively_encoder: core.Encoder, lively_files: tiny.LivelyClip
) -> None:
    with pytest.raises(EncoderError, match="no text tower"):
        panel_of(lively_encoder, None, "sdp")
    panel = panel_of(lively_encoder, lambda texts: None, "april-gan")  # type: ignore[arg-type, return-value]
    with pytest.raises(EncoderError, match="none of bank takes them"):
        Panel(lively_encoder, replace(panel.options, methods=("bank",)), adapter=panel.adapter)


def _cnn(folder: Path) -> core.Encoder:
    """A random CLIP with a convolutional image tower."""
    import json

    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "cnn.json").write_text(json.dumps(config), encoding="utf-8")
    model = open_clip.CLIP(**json.loads(json.dumps(config)))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "cnn.safetensors")
    return core.load_encoder(str(folder / "cnn.json"), weights=folder / "cnn.safetensors", device="cpu")
