"""A frame's APRIL-GAN score, words and map are its own: whatever is scored beside it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import core
from core.image import Image
from tests.core.april_gan_rig import as_layers, enrolled, header_for, lively_scorer, load_encoder, pictures
from tests.core.april_gan_rig import project_file as layers_file
from tests.core.oracle import tiny

ALONE = 1e-5


@pytest.fixture(scope="module")
def encoder(lively_files) -> core.Encoder:
    return load_encoder(lively_files)


@pytest.fixture(scope="module")
def scorer(encoder, tmp_path_factory) -> core.Scorer:
    return lively_scorer(encoder, tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def text_tower(lively_files) -> core.TextEncoder:
    return core.load_text_encoder(str(lively_files.config), weights=lively_files.weights)


@pytest.fixture(scope="module")
def nut(scorer, text_tower) -> core.PreparedBank:
    bank = enrolled(scorer, text_tower.embed, pictures(4, seed=10), product="nut", object_name="metal_nut")
    return scorer.prepare(bank)


@pytest.fixture(scope="module")
def cable(scorer, text_tower) -> core.PreparedBank:
    bank = enrolled(scorer, text_tower.embed, pictures(2, seed=20), product="cable", object_name="cable")
    return scorer.prepare(bank)


def same(ours: core.AnomalyResult, expected: core.AnomalyResult, *, within: float = ALONE) -> None:
    assert ours.score == pytest.approx(expected.score, abs=within, rel=0)
    assert ours.text_score == pytest.approx(expected.text_score, abs=within, rel=0)
    np.testing.assert_allclose(ours.map, expected.map, rtol=0, atol=within)


def alone(
    scorer: core.Scorer, images: Sequence[Image], banks: Sequence[core.PreparedBank]
) -> list[core.AnomalyResult]:
    return [scorer.score([image], [bank])[0] for image, bank in zip(images, banks, strict=True)]


@pytest.mark.parametrize("size", [2, 3, 5, 8, 16])
def test_a_frame_scores_the_same_alone_and_in_any_company_and_order(scorer, nut, size):
    images = pictures(size, seed=30 + size)
    expected = alone(scorer, images, [nut] * size)
    order = np.random.default_rng(size).permutation(size)
    together = scorer.score([images[index] for index in order], [nut] * size)
    for result, index in zip(together, order, strict=True):
        same(result, expected[index])


def test_frames_of_other_sizes_in_the_batch_change_nothing(scorer, nut):
    images = [*pictures(1, 32), *pictures(1, 48), *pictures(1, 21)]
    for result, expected in zip(scorer.score(images, [nut] * 3), alone(scorer, images, [nut] * 3), strict=True):
        same(result, expected)


def test_frames_of_two_products_in_one_batch_read_each_its_own_bank_and_words(scorer, nut, cable):
    images, banks = pictures(6, seed=40), [nut, cable, cable, nut, cable, nut]
    mixed = scorer.score(images, banks)
    for result, expected in zip(mixed, alone(scorer, images, banks), strict=True):
        same(result, expected)
    for result, wrong in zip(mixed, alone(scorer, images, [*banks[1:], cable]), strict=True):
        if wrong.text_score == pytest.approx(result.text_score, abs=1e-6):
            continue  # this frame's neighbour is of its own product
        assert abs(result.score - wrong.score) > 100 * ALONE
        assert np.abs(result.map - wrong.map).max() > 100 * ALONE


def test_a_product_is_untouched_to_the_bit_when_the_other_products_bank_and_words_are_poison(scorer, nut, cable):
    poison = replace(
        cable,
        memory=replace(
            cable.memory,
            tokens=tuple(torch.full_like(stage, torch.nan) for stage in cable.memory.tokens),
            descriptors=tuple(torch.full_like(stage, torch.nan) for stage in cable.memory.descriptors),
        ),
        text_features=torch.full_like(cable.text_features, torch.nan),
    )
    images = pictures(4, seed=50)
    clean, beside = (scorer.score(images, [nut, other, other, nut]) for other in (cable, poison))
    for index in (0, 3):
        same(beside[index], clean[index], within=0.0)
    assert np.isnan([beside[1].score, beside[1].text_score, beside[1].map.max()]).all()


def test_a_bank_saved_and_loaded_keeps_its_words_and_scores_to_the_bit(scorer, nut):
    data, digest = core.bank_to_bytes(nut.bank)
    again = scorer.prepare(core.bank_from_bytes(data, sha256=digest))
    assert torch.equal(again.text_features, nut.text_features)
    image = pictures(1, seed=60)
    same(scorer.score(image, [again])[0], scorer.score(image, [nut])[0], within=0.0)


def test_a_bank_made_with_another_adapter_is_refused_with_both_digests(encoder, scorer, nut, tmp_path):
    layers = as_layers(tiny.lively_linears(seed=99))
    adapter = core.load_adapter(layers_file(tmp_path, layers, header_for(encoder)))
    other = core.Scorer(encoder, method="april-gan", adapter=adapter)
    with pytest.raises(core.MismatchError, match="adapter") as refused:
        other.prepare(nut.bank)
    assert scorer.adapter_sha256 in str(refused.value)
    assert adapter.sha256 in str(refused.value)


def test_a_bank_without_words_is_refused_by_a_method_that_takes_them(scorer, nut):
    with pytest.raises(core.MismatchError, match="no text features"):
        scorer.prepare(replace(nut.bank, text_features=None))


def test_a_bank_of_the_method_without_words_is_refused_with_both_methods_named(encoder, scorer, nut):
    with pytest.raises(core.MismatchError, match=r"april-gan.*has bank"):
        core.Scorer(encoder, method="bank").prepare(nut.bank)


def test_enrolling_with_words_takes_a_text_tower(scorer):
    with pytest.raises(core.EnrolmentError, match="text tower"):
        core.enrol(scorer, [core.Sample.from_array("one", pictures(1)[0])], product="nut")
