"""The embedded model with words: an ImageNet trunk from one package, words from a file of this product's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

import core
from core.presets import resolve_spec, without_words
from core.towers import TRUNK, WORDS_METADATA, build_words, trunk_sha256, vocabulary
from tests.core.april_gan_rig import header_for, pictures, project_file

SIZE = 64


def words_file(folder: Path, *, trunk: str | None = None) -> Path:
    """Random words for the real trunk, as `train --words` writes them."""
    torch.manual_seed(0)
    model = build_words(resolve_spec("lite"))
    words = {name: tensor.half() for name, tensor in model.state_dict().items() if not name.startswith(TRUNK)}
    path = folder / "words.safetensors"
    header = json.dumps({"trunk": trunk or trunk_sha256(model)})
    save_file({name: tensor.contiguous() for name, tensor in words.items()}, path, {WORDS_METADATA: header})
    return path


def worded(folder: Path) -> core.Encoder:
    return core.load_encoder("lite", weights=words_file(folder), words=True, image_size=SIZE, device="cpu")


def test_with_words_lite_gives_every_stage_and_an_image_embedding(tmp_path):
    encoder = worded(tmp_path)
    features = encoder.encode(pictures(2, SIZE))
    assert encoder.stages == (3, 4, 5)
    assert features.grids == ((8, 8), (4, 4), (2, 2))
    assert features.image is not None
    torch.testing.assert_close(features.image.norm(dim=1), torch.ones(2))
    embedded = core.load_text_encoder("lite", weights=words_file(tmp_path)).embed(["a photo of a nut."])
    assert embedded.shape == (1, features.image.shape[1])


def test_the_trunk_is_the_same_with_and_without_words(tmp_path):
    images = pictures(2, SIZE)
    bare = core.load_encoder("lite", words=False, image_size=SIZE, device="cpu").encode(images)
    matched = worded(tmp_path).encode(images).of_stages([0, 1])
    assert bare.image is None
    torch.testing.assert_close(matched.stages, bare.stages, atol=1e-5, rtol=1e-5)


def test_banks_hold_the_matched_stages_alone(tmp_path):
    encoder = worded(tmp_path)
    layers = [(torch.randn(64, width), torch.zeros(64)) for _, _, width in encoder.stage_shapes]
    adapter = core.load_adapter(project_file(tmp_path, layers, header_for(encoder)))
    scorer = core.Scorer(encoder, method="april-gan", adapter=adapter)
    samples = [core.Sample.from_array(f"{index}", image) for index, image in enumerate(pictures(3, SIZE))]
    embed = core.load_text_encoder("lite", weights=words_file(tmp_path)).embed
    bank = core.enrol(scorer, samples, product="nut", embed=embed).bank
    assert bank.header.stages == (3, 4)
    assert [stage.shape[1] for stage in bank.tokens] == [40 + 112]
    data, sha256 = core.bank_to_bytes(bank)
    assert core.bank_from_bytes(data, sha256=sha256).header == bank.header
    result = scorer.score(pictures(1, SIZE, seed=9), [scorer.prepare(bank)])[0]
    assert np.isfinite(result.score)
    assert result.text_score is not None


def test_joined_tokens_are_the_means_of_what_they_cover_and_each_stage_has_the_same_say(tmp_path):
    encoder = worded(tmp_path)
    features = encoder.encode(pictures(2, SIZE))
    joined = encoder.matched_tokens(features, core.MatchOptions(joined=True))
    assert joined.grids == ((4, 4),)
    fine = features.stages[0].reshape(2, 4, 2, 4, 2, 40).mean(dim=(2, 4)).flatten(1, 2)
    expected = torch.cat([normalize(fine, dim=-1), normalize(features.stages[1], dim=-1)], dim=-1)
    torch.testing.assert_close(joined.stages[0], expected, atol=1e-6, rtol=1e-5)


def test_other_stages_than_the_presets_are_matched_apart():
    encoder = core.load_encoder("lite", stages=(3, 5), image_size=SIZE, device="cpu")
    assert encoder.matched == (3, 5)
    assert not encoder.spec.match.joined
    scorer = core.Scorer(encoder)
    samples = [core.Sample.from_array(f"{index}", image) for index, image in enumerate(pictures(3, SIZE))]
    rule = core.enrol(scorer, samples, product="nut").bank.header.rule
    assert rule.statistics == ("bank.3.top1", "bank.5.top1", "bank.5.pool")


def test_words_of_another_trunk_are_refused(tmp_path):
    path = words_file(tmp_path, trunk="another")
    with pytest.raises(core.WeightsError, match="trained on the trunk another, the package's is"):
        core.load_encoder("lite", weights=path, words=True, device="cpu")


def test_a_whole_state_dict_brings_its_own_trunk(tmp_path):
    torch.manual_seed(1)
    model = build_words(resolve_spec("lite"))
    with torch.no_grad():
        model.visual.trunk.conv_stem.weight.mul_(2)
    path = tmp_path / "whole.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    whole = core.load_encoder("lite", weights=path, words=True, image_size=SIZE, device="cpu")
    torch.testing.assert_close(whole.tower.trunk.conv_stem.weight, model.visual.trunk.conv_stem.weight)


def test_only_a_model_whose_words_are_packaged_apart_can_leave_them_out():
    clip = resolve_spec("april-gan")
    assert without_words(clip) is clip
    with pytest.raises(core.EncoderError, match="comes with its words"):
        build_words(clip)


def test_the_vocabulary_is_plain_words():
    words = vocabulary()
    assert len(words) > 10_000
    assert {"metal", "nut", "cloth"} <= set(words)
