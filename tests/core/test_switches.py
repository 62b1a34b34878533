"""The switches beyond the paper (method.md section 3): what each does, and that off means untouched."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import core
from core.bank_file import METADATA_KEY, read_header_json
from core.copies import turned
from core.region import painted
from core.score_rule import TEXT_WEIGHT
from core.scorer import always
from tests.core.april_gan_rig import pictures
from tests.pictures import samples, weave

SIZE = (48, 64)
LEFT = np.zeros(SIZE, dtype=bool)
LEFT[:, :32] = True
EVERYTHING_ON = core.MatchOptions(neighbourhood=3, budget=100, rotations=2, smoothing_px=4.0)


@pytest.fixture(scope="module")
def sdp(lively_encoder) -> core.Scorer:
    return core.Scorer(lively_encoder, method="sdp")


@pytest.fixture(scope="module")
def text_tower(lively_files) -> core.TextEncoder:
    return core.load_text_encoder(str(lively_files.config), weights=lively_files.weights)


def prepared(scorer, **options) -> core.PreparedBank:
    """Enrolled, to bytes and back, as a worker gets it."""
    bank = core.enrol(scorer, samples(4), product="cloth", **options).bank
    return scorer.prepare(core.bank_from_bytes(core.bank_to_bytes(bank)[0]))


def as_worker(scorer, bank, *images) -> list[core.AnomalyResult]:
    """The daemon's road: one batch encoded, then matched."""
    banks = [bank] * len(images)
    return scorer.match(scorer.encode(list(images), banks), banks, want_map=always)


def same(results, expected) -> None:
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.score == theirs.score
        np.testing.assert_array_equal(ours.map, theirs.map)


def holed(seed: int, column: int) -> np.ndarray:
    picture = weave(seed)
    picture[16:32, column : column + 16] = 0
    return picture


def test_a_defect_outside_the_region_leaves_score_and_map_untouched_to_the_bit(tiny_scorer):
    bank = prepared(tiny_scorer, roi=LEFT)
    same(as_worker(tiny_scorer, bank, holed(100, 40)), as_worker(tiny_scorer, bank, weave(100)))
    assert not as_worker(tiny_scorer, bank, holed(100, 40))[0].map[:, 16:].any()


def test_a_defect_inside_the_region_is_found(tiny_scorer):
    bank = prepared(tiny_scorer, roi=LEFT)
    bad, good = as_worker(tiny_scorer, bank, holed(100, 8), weave(100))
    assert bad.score > max(good.score, bank.bank.thresholds.reject)
    assert bad.map[:, :16].max() > good.map.max()


@pytest.mark.parametrize("rotations", [1, 2])
def test_what_references_show_outside_the_region_is_not_in_the_bank(tiny_scorer, rotations):
    match = core.MatchOptions(rotations=rotations)
    littered = [core.Sample.from_array(f"littered-{seed}", holed(seed, 40)) for seed in range(4)]
    clean = core.enrol(tiny_scorer, samples(4), product="cloth", roi=LEFT, match=match)
    dirty = core.enrol(tiny_scorer, littered, product="cloth", roi=LEFT, match=match)
    for ours, theirs in zip(dirty.bank.tokens, clean.bank.tokens, strict=True):
        assert torch.equal(ours, theirs)
    whole = core.enrol(tiny_scorer, samples(4), product="cloth", match=match)
    assert [len(stage) * 2 for stage in clean.bank.tokens] == [len(stage) for stage in whole.bank.tokens]
    assert dirty.scores == clean.scores
    assert dirty.bank.golden_score == clean.bank.golden_score


def test_a_region_of_everything_is_no_region(tiny_scorer):
    whole, none = (prepared(tiny_scorer, roi=roi) for roi in (np.ones(SIZE, dtype=np.uint8), None))
    assert replace(whole.bank.header, built_at="") == replace(none.bank.header, built_at="")
    images = [weave(100), holed(101, 30)]
    same(as_worker(tiny_scorer, whole, *images), as_worker(tiny_scorer, none, *images))


def test_two_lines_with_their_own_regions_share_a_batch(tiny_scorer):
    left, right = (prepared(tiny_scorer, roi=roi) for roi in (LEFT, ~LEFT))
    images, banks = [holed(100, 40), holed(100, 40), weave(5)], [left, right, left]
    together = tiny_scorer.score(images, banks)
    for result, image, bank in zip(together, images, banks, strict=True):
        alone = tiny_scorer.score([image], [bank])[0]
        assert result.score == pytest.approx(alone.score, abs=1e-5)


def test_the_golden_picture_answers_without_anyone_painting_it(tiny_scorer):
    bank = prepared(tiny_scorer, roi=LEFT)
    again = tiny_scorer.match(tiny_scorer.encode([bank.bank.golden]), [bank])[0]
    assert again.score == pytest.approx(bank.bank.golden_score, abs=1e-5)


def test_one_reference_respects_the_region_as_well(tiny_scorer):
    littered, clean = (
        core.enrol(tiny_scorer, [core.Sample.from_array("one", picture)], product="cloth", roi=LEFT)
        for picture in (holed(3, 50), weave(3))
    )
    assert torch.equal(littered.bank.tokens[0], clean.bank.tokens[0])


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros(SIZE, dtype=bool), "empty"),
        (np.ones((64, 48), dtype=bool), "64x48 pixels as the samples, got 48x64"),
        (np.ones((*SIZE, 3), dtype=bool), "shape"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(tiny_scorer, mask, words):
    with pytest.raises(core.EnrolmentError, match=words):
        core.enrol(tiny_scorer, samples(2), product="cloth", roi=mask)


def test_painting_hides_exactly_what_lies_outside():
    picture, roi = weave(0, size=(32, 32)), np.zeros((32, 32), dtype=np.uint8)
    roi[4:9, 5:20] = 1
    hidden = painted(picture, roi)
    np.testing.assert_array_equal(hidden[roi != 0], picture[roi != 0])
    assert len(np.unique(hidden[roi == 0])) == 1


def test_smoothing_of_zero_is_no_smoothing(tiny_scorer):
    off, zero = prepared(tiny_scorer), prepared(tiny_scorer, match=core.MatchOptions(smoothing_px=0.0))
    same(as_worker(tiny_scorer, zero, holed(100, 30)), as_worker(tiny_scorer, off, holed(100, 30)))


def test_smoothing_flattens_the_map_and_keeps_its_mean(tiny_scorer):
    off = prepared(tiny_scorer)
    memory = replace(off.memory, match=core.MatchOptions(smoothing_px=4.0))
    features = tiny_scorer.encode([holed(100, 30)])
    sharp, smooth = (tiny_scorer.evidence(features, each, None).distances[0] for each in (off.memory, memory))
    assert float(smooth.max()) < float(sharp.max())
    assert float(smooth.std()) < float(sharp.std())
    assert float(smooth.mean()) == pytest.approx(float(sharp.mean()), rel=1e-5)  # reflected borders lose nothing


def test_smoothing_inside_a_region_of_everything_is_the_plain_one(tiny_scorer):
    options = {"match": core.MatchOptions(smoothing_px=4.0)}
    whole, none = prepared(tiny_scorer, roi=np.ones(SIZE), **options), prepared(tiny_scorer, **options)
    ours, theirs = (as_worker(tiny_scorer, bank, holed(100, 30))[0] for bank in (whole, none))
    np.testing.assert_allclose(ours.map, theirs.map, atol=1e-6)


def test_rotated_references_bring_a_turned_good_part_closer(tiny_scorer):
    picture = turned(weave(0), 0.25)
    features = tiny_scorer.encode([picture])
    upright, every_quarter = (
        tiny_scorer.evidence(features, prepared(tiny_scorer, match=core.MatchOptions(rotations=n)).memory, None)
        for n in (1, 4)
    )
    for ours, theirs in zip(every_quarter.distances, upright.distances, strict=True):
        assert float(ours.mean()) < 0.01 * float(theirs.mean())


def test_the_v_v_paths_tokens_are_matched_when_asked_for(sdp, text_tower):
    good = [core.Sample.from_array(f"n{n}", image) for n, image in enumerate(pictures(2))]
    options = {"product": "nut", "object_name": "nut", "embed": text_tower.embed}
    bank = core.enrol(sdp, good, match=core.MatchOptions(tokens="vv"), **options).bank
    features = sdp.encode([sample.image for sample in good])
    for ours, surgery in zip(bank.tokens, features.surgery, strict=True):
        expected = torch.nn.functional.normalize(surgery[:, 1:].float(), dim=-1).flatten(0, 1)
        torch.testing.assert_close(ours.float(), expected, atol=1e-3, rtol=0)
    evidence = sdp.evidence(features, sdp.prepare(bank).memory, None)
    assert max(float(grid.max()) for grid in evidence.distances) < 1e-3


def test_the_v_v_path_is_refused_where_no_method_walks_it(tiny_scorer):
    with pytest.raises(core.EnrolmentError, match=r"sdp, sdp\+, got bank"):
        core.enrol(tiny_scorer, samples(2), product="cloth", match=core.MatchOptions(tokens="vv"))


def test_a_text_weight_is_kept_with_the_product_and_weighs_the_words(sdp, text_tower):
    options = {"object_name": "cloth", "embed": text_tower.embed}
    heavy, light = (prepared(sdp, text_weight=weight, **options) for weight in (1.0, 0.0))
    assert (heavy.bank.header.rule.text_weight, light.bank.header.rule.text_weight) == (1.0, 0.0)
    assert prepared(sdp, **options).bank.header.rule.text_weight == TEXT_WEIGHT
    good = sdp.evidence(sdp.encode([weave(100)]), heavy.memory, heavy.text_features).statistics
    rule = light.bank.header.rule
    words = [name for name in rule.statistics if name.startswith("text.")]
    louder = good | {name: good[name] + 100.0 for name in words}
    assert rule.score(louder) == rule.score(good)
    assert heavy.bank.header.rule.score(louder) > heavy.bank.header.rule.score(good)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_text_weight_that_means_nothing_is_refused(sdp, text_tower, weight):
    with pytest.raises(core.EnrolmentError, match="text weight"):
        core.enrol(sdp, samples(2), product="cloth", embed=text_tower.embed, text_weight=weight)


def test_a_text_weight_is_refused_by_a_method_without_words(tiny_scorer):
    with pytest.raises(core.EnrolmentError, match="no words"):
        core.enrol(tiny_scorer, samples(2), product="cloth", text_weight=0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"neighbourhood": 2}, "odd number of tokens, got 2"),
        ({"neighbourhood": -1}, "odd"),
        ({"rotations": 0}, "one rotation or more"),
        ({"budget": 0}, "one token or more"),
        ({"smoothing_px": -1.0}, "0 pixels or more"),
        ({"smoothing_px": float("nan")}, "0 pixels or more"),
        ({"tokens": "qk"}, "residual, vv"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(core.EnrolmentError, match=words):
        core.MatchOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"match": core.MatchOptions(neighbourhood=3)},
        {"match": core.MatchOptions(budget=50)},
        {"match": core.MatchOptions(rotations=4)},
        {"match": core.MatchOptions(smoothing_px=4.0)},
        {"roi": LEFT},
        {"roi": LEFT, "match": EVERYTHING_ON},
    ],
)
def test_a_worker_scores_with_the_options_that_the_product_was_enrolled_with(tiny_scorer, options):
    enrolment = core.enrol(tiny_scorer, samples(4), product="cloth", calibration=samples(2, first=50), **options)
    data, digest = core.bank_to_bytes(enrolment.bank)
    again = core.bank_from_bytes(data, sha256=digest)
    assert again.header.match == options.get("match", core.MatchOptions())
    assert core.bank_to_bytes(again) == (data, digest)
    live = as_worker(tiny_scorer, tiny_scorer.prepare(again), *(sample.image for sample in samples(2, first=50)))
    assert [result.score for result in live] == pytest.approx(list(enrolment.calibration_scores), abs=1e-5)


def test_a_bank_from_before_the_switches_loads_with_all_of_them_off(tiny_scorer):
    data, _ = core.bank_to_bytes(core.enrol(tiny_scorer, samples(2), product="cloth").bank)
    fields = read_header_json(data)
    for name in ("smoothing_px", "tokens"):
        del fields["match"][name]
    old = core.bank_from_bytes(save(load(data), metadata={METADATA_KEY: json.dumps(fields)}))
    assert old.header.match == core.MatchOptions()
    assert old.roi is None


@pytest.mark.parametrize("roi", [torch.ones(8, 8, dtype=torch.uint8), torch.zeros(32, 32, dtype=torch.uint8)])
def test_a_bank_whose_region_cannot_be_is_refused(tiny_scorer, roi):
    data, _ = core.bank_to_bytes(core.enrol(tiny_scorer, samples(2), product="cloth", roi=LEFT).bank)
    metadata = {METADATA_KEY: json.dumps(read_header_json(data))}
    with pytest.raises(core.BankError, match="region"):
        core.bank_from_bytes(save(load(data) | {"roi": roi}, metadata=metadata))


def test_paper_mode_ignores_every_switch_of_the_preset(tiny_model):
    images, references = [weave(100), holed(101, 20)], [weave(0), weave(1)]
    inspections = []
    for match in (core.MatchOptions(), EVERYTHING_ON):
        encoder = core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
        encoder.spec = replace(encoder.spec, match=match)
        scorer = core.Scorer(encoder)
        memory = core.paper_memory(scorer, references)
        inspections.append(core.inspect(scorer, images, mode="paper", memory=memory))
    plain, switched = inspections
    for name in ("map", "score", "few_shot_stages"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(switched, name))


@pytest.mark.parametrize("options", [{"match": EVERYTHING_ON}, {"roi": LEFT}])
def test_paper_mode_refuses_a_bank_with_a_switch_on(tiny_scorer, options):
    with pytest.raises(core.CalibrationError, match="switches"):
        core.inspect(tiny_scorer, [weave(1)], mode="paper", memory=prepared(tiny_scorer, **options).memory)


def test_an_inspection_agrees_with_the_daemon_about_the_region(tiny_scorer):
    bank = prepared(tiny_scorer, roi=LEFT)
    live = as_worker(tiny_scorer, bank, holed(100, 40))[0]
    rule = bank.bank.header.rule
    at_hand = core.inspect(tiny_scorer, [holed(100, 40)], mode="streaming", memory=bank.memory, rule=rule)
    assert at_hand.score[0] == pytest.approx(live.score, abs=1e-4)
    np.testing.assert_allclose(at_hand.map[0], live.map, atol=1e-6)


@pytest.mark.parametrize("mode", ["paper", "streaming"])
def test_stages_that_nobody_keeps_change_nothing_else(tiny_scorer, mode):
    bank = prepared(tiny_scorer)
    options = {"mode": mode, "memory": bank.memory, "rule": bank.bank.header.rule}
    kept, dropped = (
        core.inspect(tiny_scorer, [weave(1), weave(2)], keep_stages=keep, **options) for keep in (True, False)
    )
    assert dropped.few_shot_stages is None
    np.testing.assert_array_equal(dropped.score, kept.score)
    np.testing.assert_array_equal(dropped.map, kept.map)
