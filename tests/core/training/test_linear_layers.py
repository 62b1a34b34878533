"""Training of linear layers: the same bytes whatever happens on the way, and layers that learn."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

import core
from core.adapter import check_adapter
from core.datasets import open_dataset, read_image, read_mask
from core.errors import EncoderError, MismatchError, TrainingError
from core.methods.april_gan import AprilGan
from core.training import TrainingOptions, train_linear_layers
from core.training.linear_run import LinearLayers
from core.training.work_folder import LINEAR_CHECKPOINT, TOKEN_CACHE
from tests.core.training.rig import CLASSES, DEFECTS, OPTIONS, train, unit_text, write_dataset
from tests.tiny import TinyModel

STEPS_AN_EPOCH = 6


@pytest.fixture(scope="session")
def uninterrupted(tiny_model: TinyModel, root: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return train(tiny_model, root, tmp_path_factory.mktemp("work"), OPTIONS)


def loaded(data: bytes, folder: Path) -> core.Adapter:
    path = folder / "layers.safetensors"
    path.write_bytes(data)
    return core.load_adapter(path)


def test_a_killed_training_resumes_to_the_same_layers(
    tiny_model: TinyModel, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    steps = STEPS_AN_EPOCH + 3
    command = [sys.executable, "-m", "tests.core.training.killed"]
    arguments = [str(tiny_model.config.parent), str(root), str(tmp_path), str(steps)]
    killed = subprocess.run([*command, *arguments], check=False, cwd=Path(__file__).parents[3])
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / LINEAR_CHECKPOINT).exists()
    done: list[int] = []
    resumed = train(tiny_model, root, tmp_path, OPTIONS, observe=lambda step: done.append(step.done))
    assert done[0] == steps  # the step whose checkpoint was not written any more, and none before it
    assert resumed == uninterrupted


def test_tokens_from_the_cache_make_the_same_layers(
    tiny_model: TinyModel, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    assert train(tiny_model, root, tmp_path / "without", OPTIONS, use_cache=False) == uninterrupted
    assert not (tmp_path / "without" / TOKEN_CACHE).exists()
    train(tiny_model, root, tmp_path / "with", replace(OPTIONS, seed=1))
    (tmp_path / "with" / LINEAR_CHECKPOINT).unlink()
    assert train(tiny_model, root, tmp_path / "with", OPTIONS) == uninterrupted


def test_a_damaged_cache_changes_nothing(
    tiny_model: TinyModel, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    train(tiny_model, root, tmp_path, OPTIONS)
    (tmp_path / LINEAR_CHECKPOINT).unlink()
    cache = tmp_path / TOKEN_CACHE
    data = bytearray(cache.read_bytes())
    data[1000::5000] = bytes(len(data[1000::5000]))
    cache.write_bytes(data)
    assert train(tiny_model, root, tmp_path, OPTIONS) == uninterrupted


def test_another_seed_gives_other_layers(
    tiny_model: TinyModel, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    assert train(tiny_model, root, tmp_path, replace(OPTIONS, seed=6)) != uninterrupted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"learning_rate": 0.002}, "learning_rate 0.001, now 0.002"),
        ({"epochs": 3}, "epochs 2, now 3"),
        ({"hold_out": ("burn",)}, "hold_out"),
    ],
)
def test_a_checkpoint_of_other_options_is_refused(
    tiny_model: TinyModel, root: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    train(tiny_model, root, tmp_path, OPTIONS)
    with pytest.raises(MismatchError, match=says):
        train(tiny_model, root, tmp_path, replace(OPTIONS, **change))


def test_a_checkpoint_of_other_pictures_is_refused(tiny_model: TinyModel, root: Path, tmp_path: Path) -> None:
    train(tiny_model, root, tmp_path / "work", OPTIONS)
    changed = tmp_path / "changed"
    shutil.copytree(root, changed)
    picture = next((changed / CLASSES[0] / "test" / "burn").iterdir())
    cv2.imwrite(str(picture), 255 - cv2.imread(str(picture)))
    with pytest.raises(MismatchError, match="data"):
        train(tiny_model, changed, tmp_path / "work", OPTIONS)


def test_a_damaged_checkpoint_is_an_error_that_names_it(tiny_model: TinyModel, root: Path, tmp_path: Path) -> None:
    train(tiny_model, root, tmp_path, OPTIONS)
    checkpoint = tmp_path / LINEAR_CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    with pytest.raises(TrainingError, match=LINEAR_CHECKPOINT):
        train(tiny_model, root, tmp_path, OPTIONS)


def test_the_file_is_an_adapter_of_its_encoder_and_says_how_it_was_made(
    tiny_scorer: core.Scorer, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    adapter = loaded(uninterrupted, tmp_path)
    check_adapter(adapter, tiny_scorer.encoder)
    record = adapter.header.training
    assert adapter.header.dataset == "mvtec: cloth, metal_nut"
    assert record["data_sha256"] == open_dataset("mvtec", root).digest()
    assert record["options"] == json.loads(json.dumps(asdict(OPTIONS)))
    assert [entry["epoch"] for entry in record["history"]] == [0, 1, 2]
    assert record["versions"]["torch"] in torch.__version__
    losses = [sum(entry["loss"]) for entry in record["history"][1:]]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("centred", [False, True])
def test_training_sees_the_maps_that_scoring_makes(
    tiny_scorer: core.Scorer, tmp_path: Path, uninterrupted: bytes, weave: Any, centred: bool
) -> None:
    encoder, adapter, text = tiny_scorer.encoder, loaded(uninterrupted, tmp_path), unit_text("cloth")
    adapter = replace(adapter, header=replace(adapter.header, centred=centred))
    layers = LinearLayers([weight.shape[1] for weight in adapter.weights], 16, seed=0, centred=centred)
    for layer, weight, bias in zip(layers.stages, adapter.weights, adapter.biases, strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    features = encoder.encode([weave(1), weave(2, hole=True)])
    apart = (text[1] - text[0]).expand(2, -1)
    with torch.no_grad():
        ours = layers(features.stages, features.grids, apart, encoder.image_size)
    theirs = AprilGan(adapter).stage_maps(features, text, encoder.image_size)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_centred_layers_see_where_a_picture_differs_from_itself_and_nothing_of_its_tint(
    tiny_scorer: core.Scorer, tmp_path: Path, uninterrupted: bytes, weave: Any
) -> None:
    adapter, text = loaded(uninterrupted, tmp_path), unit_text("cloth")
    centred = replace(adapter, header=replace(adapter.header, centred=True))
    features = tiny_scorer.encoder.encode([weave(1, hole=True)])
    tinted = replace(features, stages=tuple(tokens + 0.7 for tokens in features.stages))
    for one, other in zip(
        AprilGan(centred).logits(features, text), AprilGan(centred).logits(tinted, text), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    plain = AprilGan(adapter)
    assert (plain.logits(features, text)[0] - plain.logits(tinted, text)[0]).abs().max() > 0.1


def test_whether_layers_are_centred_is_written_with_them(
    tiny_model: TinyModel, root: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    options = replace(OPTIONS, epochs=1, centred=True)
    assert loaded(train(tiny_model, root, tmp_path, options), tmp_path).header.centred
    assert not loaded(uninterrupted, tmp_path).header.centred


@pytest.fixture(scope="module")
def shown_and_unseen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two data sets: one with burns alone, to train on, and one with stains alone."""
    folders = []
    for kept, dropped in (DEFECTS, DEFECTS[::-1]):
        folder = tmp_path_factory.mktemp(kept)
        write_dataset(folder, each=12)
        for name in CLASSES:
            shutil.rmtree(folder / name / "test" / dropped)
            shutil.rmtree(folder / name / "ground_truth" / dropped)
        folders.append(folder)
    return folders[0], folders[1]


def pixel_auroc(encoder: core.Encoder, adapter: core.Adapter, root: Path) -> float:
    maps, masks = [], []
    for kind in open_dataset("mvtec", root).classes:
        features = encoder.encode([read_image(item.image) for item in kind.test])
        stages = AprilGan(adapter).stage_maps(features, unit_text(kind.name), encoder.image_size)
        maps.append(sum(stages).numpy())
        masks.extend(read_mask(item, encoder.image_size) for item in kind.test)
    return float(roc_auc_score(np.stack(masks).ravel(), np.concatenate(maps).ravel()))


def test_training_finds_a_defect_that_it_never_saw_and_shuffled_labels_teach_nothing(
    tiny_model: TinyModel, tiny_scorer: core.Scorer, shown_and_unseen: tuple[Path, Path], tmp_path: Path
) -> None:
    shown, unseen = shown_and_unseen
    learnt, chance = [], []
    for seed in range(3):
        for shuffled, figures in ((False, learnt), (True, chance)):
            options = TrainingOptions(epochs=4, learning_rate=0.02, seed=seed, shuffle_labels=shuffled)
            data = train(tiny_model, shown, tmp_path / f"{seed}-{shuffled}", options)
            figures.append(pixel_auroc(tiny_scorer.encoder, loaded(data, tmp_path), unseen))
    assert min(learnt) > 0.9
    assert np.mean(chance) == pytest.approx(0.5, abs=0.25)


def test_what_is_held_out_is_measured_before_and_after_every_epoch(
    tiny_model: TinyModel, root: Path, tmp_path: Path
) -> None:
    options = replace(OPTIONS, epochs=1, hold_out=("stain",))
    record = loaded(train(tiny_model, root, tmp_path, options), tmp_path).header.training
    assert record["pictures"] == {"seen": 16, "held_out": 8}
    for entry in record["history"]:
        assert len(entry["held_out"]["loss"]) == 4
        assert 0 < entry["held_out"]["pixel_auroc"] < 1


def test_stages_of_a_cnn_with_grids_of_their_own_are_trained(root: Path, tmp_path: Path) -> None:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    model = TinyModel(config=tmp_path / "resnet.json", weights=tmp_path / "resnet.safetensors")
    model.config.write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: tensor.contiguous() for name, tensor in open_clip.CLIP(**config).state_dict().items()},
        model.weights,
    )
    encoder = core.load_encoder(str(model.config), weights=model.weights, stages=(3, 4, 5), device="cpu")
    assert len({shape[:2] for shape in encoder.stage_shapes}) == 3
    data = train_linear_layers(
        encoder, unit_text, open_dataset("mvtec", root), replace(OPTIONS, epochs=1), work=tmp_path
    )
    check_adapter(loaded(data, tmp_path), encoder)


def test_a_loss_that_is_not_finite_names_epoch_and_batch(
    tiny_model: TinyModel, tiny_scorer: core.Scorer, root: Path, tmp_path: Path
) -> None:
    dataset = open_dataset("mvtec", root)
    with pytest.raises(TrainingError, match="epoch 1, batch 1"):
        train_linear_layers(
            tiny_scorer.encoder, lambda name: torch.full((2, 16), np.nan), dataset, OPTIONS, work=tmp_path
        )


def test_a_tower_without_words_is_refused(root: Path, tmp_path: Path) -> None:
    encoder = core.load_encoder("lite", words=False, image_size=64, device="cpu")
    with pytest.raises(EncoderError, match="no text tower"):
        train_linear_layers(encoder, unit_text, open_dataset("mvtec", root), OPTIONS, work=tmp_path)


@pytest.mark.parametrize(
    ("hold_out", "says"),
    [
        (("rust",), "classes and defects burn, cloth, metal_nut, stain"),
        (("good",), "cannot hold out good"),
        (("burn", "stain"), "good and defective"),
    ],
)
def test_what_cannot_be_held_out_is_an_error(
    tiny_model: TinyModel, root: Path, tmp_path: Path, hold_out: tuple[str, ...], says: str
) -> None:
    with pytest.raises(TrainingError, match=says):
        train(tiny_model, root, tmp_path, replace(OPTIONS, hold_out=hold_out))


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"betas": (0.5, 1.0)}, {"stitch_probability": 1.5}],
)
def test_options_that_mean_nothing_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="expected"):
        replace(OPTIONS, **change)
