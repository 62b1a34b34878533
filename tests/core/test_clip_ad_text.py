"""CLIP-AD's sentences and their representatives, against the oracle and scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN

from core.clip_ad_prompts import sentences
from core.clip_ad_text import clip_ad_text_features
from core.errors import EncoderError
from core.representative_vector import largest_cluster, representative_vector
from core.text import Embed
from tests.core.clip_ad_rig import assert_parity, open_clip_embed
from tests.core.oracle import sdp_numpy as oracle
from tests.core.oracle import tiny
from tests.core.oracle.arrays import Floats
from tests.core.oracle.clip_numpy import Clip, encode_text


@pytest.fixture(scope="module")
def embed(lively_files: tiny.LivelyClip) -> Embed:
    return open_clip_embed(lively_files)


@pytest.fixture(scope="module")
def sentence_vectors(lively_clip: Clip) -> list[Floats]:
    """The oracle's unit vectors of the normal and of the abnormal sentences."""
    return [encode_text(lively_clip, tiny.tokenize(texts)) for texts in oracle.sentences("metal_nut")]


def test_the_sentences_are_the_oracles_in_its_order() -> None:
    assert sentences("metal_nut") == oracle.sentences("metal_nut")


@pytest.mark.parametrize("name", ["", " \t"])
def test_an_empty_object_name_is_refused(name: str) -> None:
    with pytest.raises(EncoderError, match="expected the object's name"):
        sentences(name)


def test_a_name_with_braces_goes_into_the_sentences_as_it_is() -> None:
    assert "a photo of the damaged {0}{}." in sentences("{0}{}")[1]


@pytest.mark.parametrize("selection", ["rvs", "mean"])
def test_the_text_features_are_the_oracles(lively_clip: Clip, embed: Embed, selection: str) -> None:
    ours = clip_ad_text_features(embed, "metal_nut", selection=selection)
    assert_parity(ours, oracle.text_features(lively_clip, "metal_nut", tiny.tokenize, mean=selection == "mean"))


def test_sentences_of_any_length_give_the_same_text_features(embed: Embed) -> None:
    def stretched(texts: Sequence[str]) -> torch.Tensor:
        return embed(texts) * torch.linspace(0.5, 9.0, len(texts))[:, None]

    torch.testing.assert_close(
        clip_ad_text_features(stretched, "metal_nut"), clip_ad_text_features(embed, "metal_nut")
    )


@pytest.mark.parametrize("row", [0, 1])
def test_the_selected_sentences_are_the_largest_cluster_of_scikit_learn(
    sentence_vectors: list[Floats], row: int
) -> None:
    vectors = sentence_vectors[row]
    labels = list(DBSCAN(eps=0.5, min_samples=15, metric="euclidean").fit(vectors).labels_)
    largest = max(sorted(set(labels) - {-1}), key=labels.count)
    np.testing.assert_array_equal(largest_cluster(vectors), [label == largest for label in labels])


def test_the_lively_sentences_hold_noise_that_the_selection_drops(sentence_vectors: list[Floats]) -> None:
    assert any(not largest_cluster(vectors).all() for vectors in sentence_vectors)


def test_fifteen_alike_are_a_cluster_and_fourteen_are_none() -> None:
    noise = np.eye(8)[:4]
    fifteen = np.concatenate([noise, np.tile(np.eye(8)[7], (15, 1))])
    np.testing.assert_array_equal(largest_cluster(fifteen), [False] * 4 + [True] * 15)
    assert largest_cluster(fifteen[:-1]).all()


@pytest.mark.parametrize(("distance", "chosen"), [(0.499, 15), (0.501, 19)])
def test_neighbours_lie_within_half_a_unit(distance: float, chosen: int) -> None:
    """Two groups of 8 and 7 are one cluster when they touch; else there is none, and all 19 rows count."""
    angle = 2 * np.arcsin(distance / 2)
    near = np.cos(angle) * np.eye(8)[0] + np.sin(angle) * np.eye(8)[1]
    vectors = np.concatenate([np.tile(np.eye(8)[0], (8, 1)), np.tile(near, (7, 1)), np.eye(8)[4:]])
    assert largest_cluster(vectors).sum() == chosen


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_of_equally_large_clusters_the_one_that_begins_first_is_taken(first: int, second: int) -> None:
    vectors = np.eye(4)[[3, *[first] * 20, *[second] * 20]]
    np.testing.assert_array_equal(largest_cluster(vectors), [False, *[True] * 20, *[False] * 20])
    assert_parity(representative_vector(torch.from_numpy(vectors).float()), np.eye(4)[first], within=1e-7)
    assert_parity(
        representative_vector(torch.from_numpy(vectors).float()),
        oracle.representative_vector(vectors),
        within=1e-7,
    )


def test_noise_is_no_cluster_even_where_it_is_the_most() -> None:
    vectors = np.eye(40)[[*range(20), *[30] * 16]]
    np.testing.assert_array_equal(largest_cluster(vectors), [False] * 20 + [True] * 16)


def test_without_a_cluster_the_representative_is_the_mean_of_all() -> None:
    vectors = torch.eye(20)[:14]
    torch.testing.assert_close(representative_vector(vectors), representative_vector(vectors, "mean"))
    assert_parity(representative_vector(vectors), oracle.representative_vector(np.eye(20)[:14]), within=1e-7)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_what_is_no_list_of_vectors_has_no_representative(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected vectors \(M, C\)"):
        representative_vector(torch.zeros(shape))
