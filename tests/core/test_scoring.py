"""Enrol, save, load, score: the library's whole road with a tiny encoder on the real loading path."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import core
from core.bank_file import METADATA_KEY
from core.decide import ThresholdState
from tests.pictures import samples, weave


@pytest.fixture(scope="module")
def enrolment(tiny_scorer):
    return core.enrol(tiny_scorer, samples(6), product="cloth", object_name="woven cloth")


@pytest.fixture(scope="module")
def prepared(tiny_scorer, enrolment):
    return tiny_scorer.prepare(enrolment.bank)


def score(scorer, bank, *images):
    return [result.score for result in scorer.score(list(images), [bank] * len(images))]


def test_a_part_with_a_hole_scores_above_every_good_part(tiny_scorer, prepared):
    good = score(tiny_scorer, prepared, *(weave(seed) for seed in range(100, 110)))
    bad = score(tiny_scorer, prepared, *(weave(seed, hole=True) for seed in range(100, 110)))
    assert min(bad) > max(good)


def test_the_map_is_hottest_inside_the_hole(tiny_scorer, prepared):
    result = tiny_scorer.score([weave(100, hole=True)], [prepared])[0]
    row, column = np.unravel_index(result.map.argmax(), result.map.shape)
    assert result.map.shape == (32, 32)
    assert result.map.dtype == np.float32
    assert 32 // 3 - 4 <= row <= 2 * 32 // 3 + 4
    assert 32 // 3 - 4 <= column <= 2 * 32 // 3 + 4


def test_a_reference_scored_against_its_own_bank_lies_at_distance_zero(tiny_scorer, prepared):
    features = tiny_scorer.encode([samples(1)[0].image])
    evidence = tiny_scorer.evidence(features, prepared.memory, None)
    assert max(float(grid.max()) for grid in evidence.distances) < 1e-3  # the bank is float16
    assert max(float(value) for value in evidence.statistics.values()) < 1e-3


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_a_frame_scores_the_same_alone_and_in_any_company_and_order(tiny_scorer, prepared, size):
    images = [weave(seed, hole=seed % 2 == 0) for seed in range(200, 200 + size)]
    alone = [score(tiny_scorer, prepared, image)[0] for image in images]
    together = score(tiny_scorer, prepared, *images[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_frames_of_two_products_in_one_batch_read_each_its_own_bank(tiny_scorer, prepared):
    other = tiny_scorer.prepare(
        core.enrol(
            tiny_scorer,
            [core.Sample.from_array(f"dark-{s}", weave(s) // 4) for s in range(4)],
            product="dark",
        ).bank
    )
    images = [weave(300), weave(301) // 4, weave(302), weave(303) // 4]
    banks = [prepared, other, prepared, other]
    mixed = [result.score for result in tiny_scorer.score(images, banks)]
    alone = [score(tiny_scorer, bank, image)[0] for image, bank in zip(images, banks, strict=True)]
    np.testing.assert_allclose(mixed, alone, atol=1e-5, rtol=0)
    swapped = [result.score for result in tiny_scorer.score(images, banks[::-1])]
    assert min(abs(a - b) for a, b in zip(mixed, swapped, strict=True)) > 0.5


def test_maps_are_made_only_where_they_are_wanted(tiny_scorer, prepared):
    results = tiny_scorer.score(
        [weave(1), weave(2, hole=True)], [prepared] * 2, want_map=lambda index, score: index == 1
    )
    assert results[0].map is None
    assert results[1].map is not None


def test_a_bank_survives_the_round_trip_and_has_the_same_bytes_each_time(tiny_scorer, enrolment, prepared):
    data, digest = core.bank_to_bytes(enrolment.bank)
    again = core.bank_from_bytes(data, sha256=digest)
    assert core.bank_to_bytes(again) == (data, digest)
    assert again.header == enrolment.bank.header
    image = weave(7, hole=True)
    assert score(tiny_scorer, tiny_scorer.prepare(again), image) == score(tiny_scorer, prepared, image)


def test_a_bank_with_one_byte_changed_is_refused_by_its_digest(enrolment):
    data, digest = core.bank_to_bytes(enrolment.bank)
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(core.BankError, match="sha256"):
        core.bank_from_bytes(bytes(damaged), sha256=digest)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_bank_cut_short_is_refused(enrolment, keep):
    with pytest.raises(core.BankError):
        core.bank_from_bytes(core.bank_to_bytes(enrolment.bank)[0][:keep])


def test_another_safetensors_file_is_not_mistaken_for_a_bank(tiny_model):
    with pytest.raises(core.BankError, match=METADATA_KEY):
        core.bank_from_bytes(tiny_model.weights.read_bytes())


def poisoned(rows):
    rows = rows.clone()
    rows[-1, -1] = float("nan")
    return rows


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("stage.0", poisoned, r"\(M, C\) float16 tokens, all finite"),
        ("stage.1", lambda rows: rows[:0], r"float16 tokens, got \(0, \d+\) float16"),
        ("stage.1", lambda rows: rows.float(), r"float16 tokens, got .* float32"),
        ("descriptors.1", poisoned, "float32 descriptors, all finite"),
        ("descriptors.0", lambda rows: rows[:, 1:].contiguous(), r"\(R, \d+\) float32 descriptors, got"),
        ("text_features", poisoned, "float32 text features, all finite"),
        ("text_features", lambda rows: rows[:1], r"\(2, E\) float32 text features, got \(1,"),
        ("golden", lambda picture: picture[1:], r"golden picture of \((\d+), \1, 3\) uint8, got"),
        ("golden", lambda picture: picture.float(), "golden picture of .* uint8, got .* float32"),
    ],
)
def test_a_bank_with_numbers_that_cannot_be_right_is_refused_at_loading(enrolment, name, damage, expected):
    """A NaN in the words would otherwise make every part of the line uninspected, hours after the loading."""
    bank = replace(enrolment.bank, text_features=torch.eye(2, 8))
    data = core.bank_to_bytes(bank)[0]
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors = load_tensors(data)
    assert core.bank_to_bytes(core.bank_from_bytes(save_tensors(tensors, metadata=metadata)))[0] == data
    tensors[name] = damage(tensors[name])
    with pytest.raises(core.BankError, match=expected):
        core.bank_from_bytes(save_tensors(tensors, metadata=metadata))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"encoder_id": "other@32/gelu/0000"}, "encoder"),
        ({"activation": "quickgelu"}, "activation"),
        ({"stages": (1, 2, 3)}, "stages"),
        ({"image_size": 64}, "image size"),
        ({"method": "april-gan"}, "method"),
        ({"adapter_sha256": "ab" * 32}, "adapter"),
    ],
)
def test_a_bank_of_another_making_is_refused_with_both_sides_named(tiny_scorer, enrolment, change, what):
    foreign = replace(enrolment.bank, header=replace(enrolment.bank.header, **change))
    with pytest.raises(core.MismatchError, match=what) as refused:
        tiny_scorer.prepare(foreign)
    value = next(iter(change.values()))
    assert str(list(value) if isinstance(value, tuple) else value) in str(refused.value)


def test_the_golden_image_scores_after_loading_as_it_did_at_enrolment(tiny_scorer, enrolment):
    bank = core.bank_from_bytes(core.bank_to_bytes(enrolment.bank)[0])
    again = score(tiny_scorer, tiny_scorer.prepare(bank), bank.golden)[0]
    assert again == pytest.approx(bank.golden_score, abs=1e-5)


def test_leave_one_out_scores_each_reference_against_a_bank_without_all_its_own_tokens(tiny_scorer):
    good = samples(4)
    whole = core.enrol(tiny_scorer, good, product="cloth", match=core.MatchOptions(budget=100, rotations=2))
    rest = core.enrol(tiny_scorer, good[1:], product="cloth", match=core.MatchOptions(budget=100, rotations=2))
    features = tiny_scorer.encode([good[0].image])
    evidence = tiny_scorer.evidence(features, tiny_scorer.prepare(rest.bank).memory, None)
    rule = whole.bank.header.rule
    assert rule.score(evidence.statistics)[0] == pytest.approx(whole.scores[0], abs=1e-4)


def test_one_reference_is_enough_for_a_provisional_threshold(tiny_scorer):
    enrolment = core.enrol(tiny_scorer, samples(1), product="cloth")
    assert enrolment.thresholds.state is ThresholdState.PROVISIONAL
    bank = tiny_scorer.prepare(enrolment.bank)
    assert score(tiny_scorer, bank, weave(5, hole=True))[0] > enrolment.thresholds.reject


def test_good_samples_outside_the_bank_make_the_threshold_calibrated(tiny_scorer):
    enrolment = core.enrol(
        tiny_scorer, samples(4), product="cloth", calibration=samples(19, first=50), max_false_rejects=0.05
    )
    assert enrolment.thresholds.state is ThresholdState.CALIBRATED
    assert enrolment.thresholds.reject == max(enrolment.calibration_scores)
    assert enrolment.bank.p_value(enrolment.thresholds.reject + 1) == pytest.approx(0.05)


def test_shots_beyond_the_references_join_the_calibration(tiny_scorer):
    enrolment = core.enrol(tiny_scorer, samples(10), product="cloth", shots=4)
    assert enrolment.bank.header.shots == 4
    assert len(enrolment.calibration_scores) == 6


def test_calibrating_later_gives_what_calibrating_at_enrolment_gives(tiny_scorer):
    outside = samples(12, first=50)
    at_once = core.enrol(tiny_scorer, samples(4), product="cloth", calibration=outside)
    first = core.enrol(tiny_scorer, samples(4), product="cloth")
    in_steps = core.recalibrate(tiny_scorer, first.bank, outside[:5])
    in_steps = core.recalibrate(tiny_scorer, in_steps.bank, outside[5:])
    assert in_steps.thresholds == at_once.thresholds
    assert all(torch.equal(a, b) for a, b in zip(in_steps.bank.tokens, first.bank.tokens, strict=True))


def bad_enrolments():
    good = samples(4)
    small = core.Sample.from_array("small", weave(9, size=(40, 64)))
    return {
        "none at all": ([], {}, core.EnrolmentError, "at least one"),
        "another size": ([*good, small], {}, core.EnrolmentError, "small: expected 64x48"),
        "a duplicate": ([*good, good[1]], {}, core.EnrolmentError, "same picture"),
        "more shots than samples": (good, {"shots": 5}, core.EnrolmentError, "expected 5 references, got 4"),
        "a promise of references alone": (
            good,
            {"max_false_rejects": 0.1},
            core.CalibrationError,
            "9 good samples",
        ),
        "a promise out of range": (good, {"max_false_rejects": 1.5}, core.CalibrationError, "between 0 and 1"),
        "a calibration sample that is a reference": (
            good,
            {"calibration": good[:1]},
            core.EnrolmentError,
            "same picture",
        ),
    }


@pytest.mark.parametrize("case", bad_enrolments())
def test_bad_samples_are_refused_with_the_reason(tiny_scorer, case):
    good, options, error, words = bad_enrolments()[case]
    with pytest.raises(error, match=words):
        core.enrol(tiny_scorer, good, product="cloth", **options)


def test_the_sample_that_looks_unlike_the_rest_is_named(tiny_scorer):
    odd = core.Sample.from_array("odd-one", weave(3, hole=True))
    enrolment = core.enrol(tiny_scorer, [*samples(6), odd], product="cloth")
    assert any("odd-one" in warning for warning in enrolment.warnings)


def test_reading_image_headers_and_deciding_never_loads_torch():
    code = "import core, core.image, core.decide, core.errors, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_can_be_had():
    assert all(getattr(core, name) is not None for name in core.__all__)
