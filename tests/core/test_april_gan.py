"""APRIL-GAN against the independent float64 statement of it, on a tiny CLIP with enough life that mutants show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import core
from core.prompts import sentences
from core.text import april_gan_text_features
from tests.core.april_gan_rig import (
    OBJECT,
    PARITY,
    enrolled,
    lively_scorer,
    load_encoder,
    pictures,
    pixels_of,
)
from tests.core.oracle import april_gan_numpy as oracle
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats
from tests.core.oracle.clip_numpy import Activation, Clip, with_activation

BFLOAT16 = 2e-2


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """F_t under one activation: the product's text tower, the oracle's result."""

    tower: core.TextEncoder
    clip: Clip
    expected: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One test set of pictures against two references, inspected by both."""

    scorer: core.Scorer
    bank: core.PreparedBank
    images: list[np.ndarray]
    ours: core.Inspection
    expected: oracle.Inspection


@pytest.fixture(scope="module")
def words(lively_files, lively_clip) -> dict[Activation, Words]:
    def under(activation: Activation) -> Words:
        clip = with_activation(lively_clip, activation)
        return Words(
            tower=core.load_text_encoder(
                str(lively_files.config), weights=lively_files.weights, activation=activation
            ),
            clip=clip,
            expected=oracle.text_features(clip, OBJECT, tiny.tokenize),
        )

    return {"gelu": under("gelu"), "quickgelu": under("quickgelu")}


@pytest.fixture(
    scope="module",
    params=[
        ("gelu", tiny.IMAGE_SIZE, "safetensors"),
        ("gelu", tiny.RESIZED, "pth"),
        ("quickgelu", tiny.IMAGE_SIZE, "pth"),
        ("quickgelu", tiny.RESIZED, "safetensors"),
    ],
    ids=lambda param: "-".join(str(part) for part in param),
)
def pair(request, words, lively_files, tmp_path_factory) -> Pair:
    activation, size, form = request.param
    encoder = load_encoder(lively_files, activation=activation, size=size)
    scorer = lively_scorer(encoder, tmp_path_factory.mktemp("layers"), form=form)
    images, references = pictures(5, size, seed=3), pictures(2, size, seed=4)
    bank = scorer.prepare(enrolled(scorer, words[activation].tower.embed, references, product="nut"))
    return Pair(
        scorer=scorer,
        bank=bank,
        images=images,
        ours=core.inspect(
            scorer,
            images,
            mode="paper",
            text=bank.text_features,
            memory=core.paper_memory(scorer, references),
        ),
        expected=oracle.inspect(
            words[activation].clip,
            pixels_of(encoder, images),
            text=words[activation].expected,
            linears=tiny.lively_linears(),
            stages=tiny.STAGES,
            references=pixels_of(encoder, references),
        ),
    )


def close(ours: np.ndarray | None, expected: Floats, *, within: float = PARITY) -> None:
    assert ours is not None
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, rtol=0, atol=within)


# ------------------------------------------------------------------------------------------ words


def test_the_ensemble_has_the_245_normal_and_175_abnormal_sentences_of_the_oracle_in_its_order():
    normal, abnormal = ([text for state in states for text in state] for states in sentences(OBJECT))
    assert (normal, abnormal) == oracle.sentences(OBJECT)
    assert (len(normal), len(abnormal)) == (245, 175)


@pytest.mark.parametrize("name", ["", "  ", "\t\n"])
def test_an_object_without_a_name_is_refused_before_any_scoring(name, words):
    with pytest.raises(core.EncoderError, match="name in words"):
        sentences(name)
    with pytest.raises(core.EncoderError, match="name in words"):
        april_gan_text_features(words["gelu"].tower.embed, name)


def test_text_features_are_the_oracles(pair, words):
    close(pair.ours.text_features, words[pair.scorer.encoder.spec.activation].expected)


# ----------------------------------------------------------------------------------- parity, float32


def test_every_zero_shot_stage_map_is_the_oracles(pair):
    close(pair.ours.zero_shot_stages, pair.expected.zero_shot_stages)


def test_every_few_shot_stage_map_is_the_oracles(pair):
    close(pair.ours.few_shot_stages, pair.expected.few_shot_stages)


def test_the_map_is_the_oracles_sum_of_stages_and_branches(pair):
    close(pair.ours.map, pair.expected.map)


def test_the_text_score_is_the_oracles(pair):
    close(pair.ours.text_score, pair.expected.text_score)


def test_paper_mode_scores_few_shot_by_words_and_the_peaks_rescaled_over_the_set(pair):
    expected = oracle.paper_image_scores(pair.expected.text_score, pair.expected.map)
    close(pair.ours.score, expected)


def test_paper_mode_scores_zero_shot_by_the_words_alone(pair):
    ours = core.inspect(pair.scorer, pair.images, mode="paper", text=pair.bank.text_features)
    assert ours.few_shot_stages is None
    close(ours.map, pair.expected.zero_shot_stages.sum(axis=0))
    close(ours.score, pair.expected.text_score)


def test_streaming_maps_from_a_saved_bank_halve_the_few_shot_distances(pair):
    expected = pair.expected
    ours = core.inspect(
        pair.scorer,
        pair.images,
        mode="streaming",
        text=pair.bank.text_features,
        memory=pair.bank.memory,
        rule=pair.bank.bank.header.rule,
    )
    close(ours.few_shot_stages, expected.few_shot_stages / 2)
    close(ours.map, expected.zero_shot_stages.sum(axis=0) + expected.few_shot_stages.sum(axis=0) / 2)


def test_the_daemons_road_gives_the_scores_and_maps_of_the_streaming_inspection(pair):
    inspected = core.inspect(
        pair.scorer,
        pair.images,
        mode="streaming",
        text=pair.bank.text_features,
        memory=pair.bank.memory,
        rule=pair.bank.bank.header.rule,
    )
    results = pair.scorer.score(pair.images, [pair.bank] * len(pair.images))
    np.testing.assert_allclose([result.score for result in results], inspected.score, rtol=0, atol=1e-5)
    close(np.stack([result.map for result in results]), inspected.map, within=1e-5)
    close(np.float32([result.text_score for result in results]), pair.expected.text_score)


# --------------------------------------------------------------------------------- other precisions


def test_bfloat16_stays_within_2_percent_and_ranks_the_pictures_alike(words, lively_files, tmp_path):
    encoder = load_encoder(lively_files, precision="bfloat16")
    scorer = lively_scorer(encoder, tmp_path)
    images, references = pictures(6, seed=7), pictures(2, seed=4)
    text = core.text_features(scorer, OBJECT, words["gelu"].tower.embed)
    memory = core.paper_memory(scorer, references)
    ours = core.inspect(scorer, images, mode="paper", text=text, memory=memory)
    expected = oracle.inspect(
        words["gelu"].clip,
        pixels_of(encoder, images),
        text=words["gelu"].expected,
        linears=tiny.lively_linears(),
        stages=tiny.STAGES,
        references=pixels_of(encoder, references),
    )
    close(ours.zero_shot_stages, expected.zero_shot_stages, within=BFLOAT16)
    close(ours.few_shot_stages, expected.few_shot_stages, within=BFLOAT16)
    close(ours.text_score, expected.text_score, within=BFLOAT16)
    assert np.argsort(ours.score).tolist() == np.argsort(paper_scores(expected)).tolist()
    assert np.argsort(ours.text_score).tolist() == np.argsort(expected.text_score).tolist()


def paper_scores(expected: oracle.Inspection) -> Floats:
    return oracle.paper_image_scores(expected.text_score, expected.map)
