"""Training of the words beside a locked trunk: pairs, loss, temperature, and a file that the encoder loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import core
from core.datasets import TestItem, open_dataset
from core.errors import EncoderError, MismatchError, TrainingError
from core.presets import EncoderSpec, resolve_spec
from core.training import WordsOptions, train_words
from core.training.captions import Captioner, class_names
from core.training.examples import Example
from core.training.progress import Step
from core.training.words import contrastive_loss, learning_rate, scale_floor
from core.zero_shot import TEMPERATURE

OPTIONS = WordsOptions(steps=6, batch=8, warmup=2)


@pytest.fixture
def spec() -> EncoderSpec:
    return resolve_spec("lite", image_size=64)


def captioner(own_name: float = 0.5, seed: int = 0) -> Captioner:
    kinds = [("metal_nut", "good"), ("metal_nut", "bent"), ("cloth", "good"), ("cloth", "hole")]
    examples = [
        Example(row=row, object_name=name, item=TestItem(image=Path("x.png"), mask=None, defect=defect))
        for row, (name, defect) in enumerate(kinds)
    ]
    names = {"cloth": ("woven linen",)}
    return Captioner(examples, ["zebra", "violin"], names=names, own_name=own_name, seed=seed)


def test_a_caption_is_true_of_pictures_in_its_state_and_of_its_class_or_says_no_class() -> None:
    pairs = captioner().draw(0, 40)
    anomalous, kinds = pairs.pictures % 2, pairs.pictures // 2
    for caption, column, state, kind in zip(pairs.captions, pairs.positives.T, anomalous, kinds, strict=True):
        nameless = "zebra" in caption or "violin" in caption
        expected = (anomalous == state) & (nameless | (kinds == kind))
        np.testing.assert_array_equal(column, expected)
        assert bool(state) == any(word in caption for word in ("damaged", "broken", " with flaw", " with d"))
    assert pairs.positives.diagonal().all()


def test_captions_call_the_part_by_its_own_names_as_often_as_asked() -> None:
    own = ("metal_nut", "metal nut", "cloth", "woven linen")
    captions = [caption for step in range(10) for caption in captioner(own_name=1.0).draw(step, 40).captions]
    assert all(any(name in caption for caption in captions) for name in own)
    assert all(any(name in caption for name in own) for caption in captions)
    assert class_names("metal_nut", {}) == ("metal_nut", "metal nut")


def test_the_same_seed_and_step_draw_the_same_pairs() -> None:
    first, again, other = captioner().draw(3, 16), captioner().draw(3, 16), captioner(seed=1).draw(3, 16)
    assert first.captions == again.captions
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert first.captions != other.captions


def test_the_loss_is_the_cross_entropy_with_shared_targets_both_ways(rng: np.random.Generator) -> None:
    logits, positives = rng.normal(size=(5, 5)), rng.random((5, 5)) < 0.3
    np.fill_diagonal(positives, val=True)

    def one_way(logits: np.ndarray, positives: np.ndarray) -> float:
        total = 0.0
        for row, true in zip(logits, positives, strict=True):
            shares = np.exp(row) / np.exp(row).sum()
            total -= np.mean([np.log(shares[place]) for place in np.flatnonzero(true)])
        return total / len(logits)

    expected = (one_way(logits, positives) + one_way(logits.T, positives.T)) / 2
    ours = contrastive_loss(torch.from_numpy(logits).float(), torch.from_numpy(positives))
    assert float(ours) == pytest.approx(expected, rel=1e-5)


def test_the_temperature_ends_at_scorings_and_the_learning_rate_at_nothing() -> None:
    assert scale_floor(0, 100) == 1.0
    assert scale_floor(50, 100) < TEMPERATURE == scale_floor(90, 100) == scale_floor(99, 100)
    options = WordsOptions(steps=1000, warmup=10, learning_rate=0.5)
    rates = [learning_rate(step, options) for step in range(1000)]
    assert max(rates) == 0.5 == rates[10]
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] < 1e-5


class Interrupted(Exception):
    """What the observer raises to stop a training."""


def test_an_interrupted_training_resumes_to_the_same_file_which_the_encoder_loads(
    spec: EncoderSpec, root: Path, tmp_path: Path
) -> None:
    def train(work: str, options: WordsOptions = OPTIONS, stop: int | None = None) -> bytes:
        def observe(step: Step) -> None:
            if step.phase == "words" and step.done == stop:
                raise Interrupted

        folder = tmp_path / work
        folder.mkdir(exist_ok=True)
        return train_words(
            spec, dataset, options, work=folder, device="cpu", observe=observe, checkpoint_seconds=0.0
        )

    dataset = open_dataset("mvtec", root)
    with pytest.raises(Interrupted):
        train("stopped", stop=4)
    with pytest.raises(MismatchError, match="seed 0, now 1"):
        train("stopped", options=replace(OPTIONS, seed=1))
    resumed, whole = train("stopped"), train("whole")
    assert resumed == whole
    path = tmp_path / "words.safetensors"
    path.write_bytes(whole)
    encoder = core.load_encoder("lite", weights=path, image_size=64, device="cpu", words=True)
    words = core.load_text_encoder("lite", weights=path)
    assert words.embed(["a photo of a nut."]).shape == (1, encoder.embedding_width)


def test_words_learn_to_tell_good_parts_from_bad_ones(spec: EncoderSpec, root: Path, tmp_path: Path) -> None:
    losses: list[float] = []

    def observe(step: Step) -> None:
        if step.phase == "words":
            losses.append(step.loss)

    options = WordsOptions(steps=30, batch=32, warmup=3, learning_rate=3e-3, hold_out=("stain",))
    train_words(spec, open_dataset("mvtec", root), options, work=tmp_path, device="cpu", observe=observe)
    assert min(losses) < 0.9 * losses[0]


def test_a_model_that_comes_with_its_words_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="comes with its words"):
        train_words(resolve_spec("sdp"), open_dataset("mvtec", root), OPTIONS, work=tmp_path)


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 1}, {"own_name": 1.5}, {"weight_decay": -1.0}])
def test_options_that_mean_nothing_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="expected"):
        replace(OPTIONS, **change)
