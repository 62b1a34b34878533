"""The baselines: laws that each must keep, and each paper's formula against a plain statement of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis

import core
from core.baselines.grids import middle_stages, on_one_grid
from core.baselines.padim import PaDiM, shrunk_covariance
from core.baselines.patchcore import PatchCore, nearest_patch, reweighted
from core.baselines.spade import Spade
from core.baselines.winclip import WinClip, association_map, harmonic_mean, language_map, spread
from core.baselines.windows import WindowEncoder, WindowFeatures, window_members
from core.errors import EncoderError, EnrolmentError
from core.features import Features
from tests.pictures import weave

SIZE = 32
GOOD = [weave(seed) for seed in range(6)]
"""Six references, and below two good parts they have not seen and one with a hole."""
SEEN = [weave(100), weave(101), weave(102, hole=True)]
HOLED = 2
HOLE = slice(SIZE // 3, 2 * SIZE // 3 + 1)
MIDDLE_WINDOW = 3 * 7 + 3
"""The 2x2 window whose patches all lie in the hole, of the 7x7 on the tiny tower's 8x8 grid."""

ON_FEATURES = [
    PatchCore(size=SIZE, share=1.0, sigma=1.0),
    PaDiM(size=SIZE, sigma=1.0),
    Spade(size=SIZE, sigma=1.0),
]


@pytest.fixture(scope="module")
def encoder(tiny_scorer):
    return tiny_scorer.encoder


@pytest.fixture(scope="module")
def windows(encoder) -> WindowEncoder:
    return WindowEncoder(encoder)


@pytest.fixture(scope="module")
def winclip(windows) -> WinClip:
    """Text rows made of good and of spoilt pictures and their middles: the tiny tower knows no words."""
    rows = []
    for pictures in (GOOD, [weave(200, hole=True), weave(201, hole=True)]):
        seen = windows.encode(pictures)
        rows.append((seen.image + seen.windows[0][:, MIDDLE_WINDOW]).mean(dim=0))
    return WinClip(size=SIZE, text=torch.nn.functional.normalize(torch.stack(rows), dim=-1))


@pytest.fixture(scope="module", params=[*ON_FEATURES, "winclip"], ids=lambda case: getattr(case, "name", case))
def rival(request, encoder, windows, winclip):
    """A baseline beside the encoding it sees pictures through."""
    return (winclip, windows.encode) if request.param == "winclip" else (request.param, encoder.encode)


# Laws that every baseline keeps.


def test_a_picture_with_a_hole_scores_above_the_good_ones_and_the_references(rival):
    baseline, encode = rival
    fitted = baseline.fit(encode(GOOD))
    seen, references = fitted.scores(encode(SEEN)), fitted.scores(encode(GOOD))
    assert float(seen[HOLED]) > float(seen[:HOLED].max())
    assert float(seen[HOLED]) > float(references.max())


def test_the_hottest_place_lies_in_the_hole(rival):
    baseline, encode = rival
    pixels = baseline.fit(encode(GOOD)).maps(encode(SEEN))[HOLED]
    y, x = divmod(int(pixels.argmax()), SIZE)
    assert HOLE.start <= y < HOLE.stop
    assert HOLE.start <= x < HOLE.stop


def test_maps_and_scores_are_float32_one_a_picture_and_finite(rival):
    baseline, encode = rival
    judgement = baseline.fit(encode(GOOD)).judge(encode(SEEN))
    assert (judgement.maps.shape, judgement.maps.dtype) == ((len(SEEN), SIZE, SIZE), torch.float32)
    assert (judgement.scores.shape, judgement.scores.dtype) == ((len(SEEN),), torch.float32)
    assert bool(torch.isfinite(judgement.maps).all())
    assert bool(torch.isfinite(judgement.scores).all())


def test_a_picture_is_judged_alone_as_in_any_batch_and_order(rival):
    baseline, encode = rival
    fitted = baseline.fit(encode(GOOD))
    together, backwards = fitted.judge(encode(SEEN)), fitted.judge(encode(SEEN[::-1]))
    for row, picture in enumerate(SEEN):
        alone = fitted.judge(encode([picture]))
        for batch, place in ((together, row), (backwards, len(SEEN) - 1 - row)):
            torch.testing.assert_close(batch.scores[place], alone.scores[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(batch.maps[place], alone.maps[0], atol=1e-5, rtol=1e-4)


def test_one_reference_is_enough_to_judge_by(rival):
    baseline, encode = rival
    scores = baseline.fit(encode(GOOD[:1])).scores(encode(SEEN))
    assert int(scores.argmax()) == HOLED


def test_no_references_are_refused(rival):
    baseline, encode = rival
    good = encode(GOOD)
    nothing = (
        WindowFeatures(
            image=good.image[:0],
            windows=tuple(stage[:0] for stage in good.windows),
            patches=good.patches[:0],
            grid=good.grid,
            sides=good.sides,
        )
        if isinstance(good, WindowFeatures)
        else good.rows([])
    )
    with pytest.raises(EnrolmentError, match="at least one good picture"):
        baseline.fit(nothing)


@pytest.mark.parametrize(
    "baseline", [PatchCore(size=SIZE, share=1.0), Spade(size=SIZE, nearest=1)], ids=lambda b: b.name
)
def test_references_are_at_distance_zero_from_themselves(encoder, baseline):
    good = encoder.encode(GOOD)
    judgement = baseline.fit(good).judge(good)
    torch.testing.assert_close(judgement.scores, torch.zeros(len(GOOD)), atol=1e-6, rtol=0)
    torch.testing.assert_close(judgement.maps, torch.zeros(len(GOOD), SIZE, SIZE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("baseline", ON_FEATURES, ids=lambda b: b.name)
def test_stages_of_different_resolution_make_one_map(baseline):
    encoder = core.load_encoder("lite", device="cpu", image_size=128, stages=(3, 4, 5))
    judgement = baseline.fit(encoder.encode(GOOD)).judge(encoder.encode(SEEN))
    assert judgement.maps.shape == (len(SEEN), SIZE, SIZE)
    assert int(judgement.scores.argmax()) == HOLED


# One grid.


def test_the_middle_of_four_stages_are_the_second_and_third():
    assert [middle_stages(count) for count in (1, 2, 3, 4)] == [(0,), (0, 1), (0, 1), (1, 2)]


def test_a_coarse_patch_stands_beside_every_fine_one_it_covers(rng):
    fine, coarse = (torch.from_numpy(rng.normal(size=(2, side * side, 3))).float() for side in (4, 2))
    features = Features(stages=(fine, coarse), grids=((4, 4), (2, 2)), image=None)
    patches = on_one_grid(features, (0, 1), mode="nearest")
    for y in range(4):
        for x in range(4):
            expected = torch.cat([fine[:, 4 * y + x], coarse[:, 2 * (y // 2) + x // 2]], dim=1)
            torch.testing.assert_close(patches[:, 4 * y + x], expected)


def test_a_patch_is_the_mean_of_its_neighbourhood_within_the_picture(rng):
    tokens = torch.from_numpy(rng.normal(size=(1, 12, 2))).float()
    patches = on_one_grid(Features(stages=(tokens,), grids=((3, 4),), image=None), (0,), neighbourhood=3)
    plane = tokens.view(3, 4, 2)
    for y in range(3):
        for x in range(4):
            expected = plane[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean(dim=(0, 1))
            torch.testing.assert_close(patches[0, 4 * y + x], expected)


# PatchCore.


def test_patchcore_weighs_the_hottest_patch_as_equation_7_says(rng):
    bank = rng.normal(size=(40, 5))
    patch = rng.normal(size=5) + 1.0
    to_bank = np.linalg.norm(bank - patch, axis=1)
    nearest = int(to_bank.argmin())
    around = np.linalg.norm(bank - bank[nearest], axis=1).argsort()[:9]
    weight = 1.0 - math.exp(to_bank[nearest]) / sum(math.exp(to_bank[row]) for row in around)

    found = reweighted(
        torch.from_numpy(patch[None]).float(),
        torch.tensor([nearest]),
        bank=torch.from_numpy(bank).float(),
        neighbours=9,
    )
    np.testing.assert_allclose(found.numpy(), [weight * to_bank[nearest]], rtol=1e-5)


def test_patchcore_does_not_weigh_by_a_bank_of_one_patch():
    found = reweighted(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), bank=torch.zeros(1, 2), neighbours=9)
    assert float(found[0]) == pytest.approx(5.0)


def test_the_nearest_patch_is_the_one_that_looking_at_each_finds(rng):
    patches, bank = (torch.from_numpy(rng.normal(size=(rows, 7))).float() for rows in (50, 30))
    distances, nearest = nearest_patch(patches, bank)
    every = (patches[:, None] - bank).square().sum(dim=2).sqrt()
    torch.testing.assert_close(distances, every.amin(dim=1))
    assert torch.equal(nearest, every.argmin(dim=1))


def test_patchcore_keeps_the_share_of_patches_that_it_was_told(encoder):
    good = encoder.encode(GOOD)
    fitted = PatchCore(size=SIZE, share=0.25).fit(good)
    assert fitted.bank.shape == (len(GOOD) * 64 // 4, 2 * 32)


def test_patchcores_bank_holds_the_two_middle_stages_averaged_over_three_by_three(encoder):
    good = encoder.encode(GOOD)
    expected = on_one_grid(good, (1, 2), neighbourhood=3).flatten(0, 1)
    assert torch.equal(PatchCore(size=SIZE, share=1.0).fit(good).bank, expected)


# PaDiM.


def test_padims_map_is_scipys_mahalanobis_distance_at_every_place(rng):
    good, seen = (torch.from_numpy(rng.normal(size=(count, 4, 6)) * 2).float() for count in (9, 3))
    baseline = PaDiM(size=2, sigma=0.0)
    judgement = baseline.fit(_one_stage(good)).judge(_one_stage(seen))
    for place in range(4):
        inverse = np.linalg.inv(np.cov(good[:, place].double().numpy().T) + 0.01 * np.eye(6))
        mean = good[:, place].double().mean(dim=0).numpy()
        expected = [scipy_mahalanobis(picture, mean, inverse) for picture in seen[:, place].double().numpy()]
        np.testing.assert_allclose(judgement.maps.view(3, 4)[:, place].numpy(), expected, rtol=1e-4)
    assert torch.equal(judgement.scores, judgement.maps.amax(dim=(1, 2)))


def test_padim_from_one_picture_is_ten_times_the_distance_to_it(rng):
    good, seen = (torch.from_numpy(rng.normal(size=(1, 4, 6))).float() for _ in range(2))
    maps = PaDiM(size=2, sigma=0.0).fit(_one_stage(good)).maps(_one_stage(seen))
    torch.testing.assert_close(maps.view(4), 10 * torch.linalg.vector_norm(seen - good, dim=2)[0])


def test_padim_draws_the_same_channels_at_every_fit(encoder):
    good = encoder.encode(GOOD)
    first, second = (PaDiM(size=SIZE, dimensions=20).fit(good) for _ in range(2))
    assert torch.equal(first.channels, second.channels)
    assert len(set(first.channels.tolist())) == 20
    assert first.mean.shape == (64, 20)


def test_shrinkage_alone_is_the_variance_where_pictures_do_not_differ():
    covariance = shrunk_covariance(torch.zeros(3, 2, 4), 0.01)
    torch.testing.assert_close(covariance, 0.01 * torch.eye(4).expand(2, 4, 4))


# SPADE.


def test_spade_scores_by_the_mean_distance_to_the_k_nearest_pictures(encoder):
    good, seen = encoder.encode(GOOD), encoder.encode(SEEN)
    scores = Spade(size=SIZE, nearest=3).fit(good).scores(seen)
    described = [_describe(features.stages[-1]) for features in (seen, good)]
    for row, one in enumerate(described[0]):
        distances = sorted((1 - float(one @ other)) / 2 for other in described[1])
        assert float(scores[row]) == pytest.approx(sum(distances[:3]) / 3, abs=1e-6)


def test_spade_looks_for_patches_in_the_nearest_pictures_only(encoder):
    good, seen = encoder.encode(GOOD), encoder.encode(SEEN[:1])
    described, others = _describe(seen.stages[-1]), _describe(good.stages[-1])
    nearest = int(np.argmax(others @ described[0]))
    of_one = Spade(size=SIZE).fit(encoder.encode([GOOD[nearest]])).maps(seen)
    torch.testing.assert_close(Spade(size=SIZE, nearest=1).fit(good).maps(seen), of_one, atol=1e-6, rtol=0)


# WinCLIP.


def test_a_window_over_the_whole_grid_is_the_plain_image_embedding(encoder):
    seen = WindowEncoder(encoder, sides=(8,)).encode(SEEN)
    plain = encoder.encode(SEEN).image
    torch.testing.assert_close(seen.windows[0][:, 0], plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.image, plain, atol=1e-5, rtol=0)


def test_winclips_patches_are_the_last_tokens_after_the_norm_and_before_the_projection(encoder, windows):
    last = encoder.encode(SEEN).stages[-1]
    expected = torch.nn.functional.normalize(encoder.tower.ln_post(last), dim=-1)
    torch.testing.assert_close(windows.encode(SEEN).patches, expected, atol=1e-5, rtol=0)


def test_a_window_knows_nothing_of_the_pixels_outside_it(windows):
    picture = weave(0, size=(SIZE, SIZE))
    changed = picture.copy()
    changed[:, 12:] = 0  # bicubic squashing from 32 to 32 pixels mixes none
    before, after = (windows.encode([image]).windows[0][0] for image in (picture, changed))
    left = (window_members((8, 8), 2) % 8 < 3).all(dim=1)
    torch.testing.assert_close(before[left], after[left], atol=1e-5, rtol=0)
    assert not torch.allclose(before[~left], after[~left], atol=1e-3)


def test_windowing_leaves_the_encoder_bit_identical(encoder):
    before = encoder.encode(SEEN)
    WindowEncoder(encoder).encode(SEEN)
    after = encoder.encode(SEEN)
    assert torch.equal(before.image, after.image)
    assert all(torch.equal(*stages) for stages in zip(before.stages, after.stages, strict=True))


def test_windows_are_counted_row_by_row():
    assert window_members((2, 3), 2).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]
    assert window_members((8, 8), 3).shape == (36, 9)


def test_a_patch_has_the_harmonic_mean_of_the_windows_that_hold_it(rng):
    members = window_members((4, 5), 2)
    scores = rng.uniform(0.01, 1.0, size=(3, len(members)))
    found = spread(torch.from_numpy(scores), members, 20)
    for picture in range(3):
        for patch in range(20):
            holding = [scores[picture, w] for w, window in enumerate(members.tolist()) if patch in window]
            expected = len(holding) / sum(1 / score for score in holding)
            assert float(found[picture, patch]) == pytest.approx(expected)


def test_a_score_of_zero_makes_a_harmonic_mean_of_zero():
    assert harmonic_mean(torch.tensor([[0.0], [1.0]])).tolist() == [0.0]


def test_winclips_language_map_is_what_plain_loops_make_of_it(windows, winclip):
    seen = windows.encode(SEEN)
    text = winclip.text.double().numpy()
    expected = np.empty((len(SEEN), 64))
    for picture in range(len(SEEN)):
        scales = [np.full(64, _abnormal(seen.image[picture], text))]
        for side, embeddings in zip(seen.sides, seen.windows, strict=True):
            scales.append(_spread_by_loops([_abnormal(one, text) for one in embeddings[picture]], side))
        expected[picture] = len(scales) / sum(1 / scale for scale in scales)
    np.testing.assert_allclose(language_map(seen, winclip.text).view(-1, 64).numpy(), expected, rtol=1e-3)


def test_winclips_association_map_is_what_plain_loops_make_of_it(windows):
    seen, good = windows.encode(SEEN), windows.encode(GOOD)
    expected = np.empty((len(SEEN), 64))
    for picture in range(len(SEEN)):
        scales = [np.array(_to_nearest(seen.patches[picture], good.patches))]
        for side, own, theirs in zip(seen.sides, seen.windows, good.windows, strict=True):
            scales.append(_spread_by_loops(_to_nearest(own[picture], theirs), side))
        expected[picture] = sum(scales) / len(scales)
    np.testing.assert_allclose(association_map(seen, good).view(-1, 64).numpy(), expected, atol=1e-6)


def test_winclip_without_references_is_the_text_alone(windows, winclip):
    seen = windows.encode(SEEN)
    judgement = winclip.zero_shot().judge(seen)
    text = winclip.text.double().numpy()
    expected = [_abnormal(one, text) for one in seen.image]
    np.testing.assert_allclose(judgement.scores.numpy(), expected, rtol=1e-3)
    assert int(judgement.scores.argmax()) == HOLED
    assert 0.0 <= float(judgement.maps.min()) <= float(judgement.maps.max()) <= 1.0


def test_winclip_with_references_takes_half_from_each(windows, winclip):
    seen, good = windows.encode(SEEN), windows.encode(GOOD)
    alone, both = winclip.zero_shot().judge(seen), winclip.fit(good).judge(seen)
    hottest = association_map(seen, good).amax(dim=(1, 2))
    torch.testing.assert_close(both.scores, 0.5 * (alone.scores + hottest))


def test_winclip_refuses_a_tower_of_convolutions():
    with pytest.raises(EncoderError, match="needs a ViT; lite's tower has no"):
        WindowEncoder(core.load_encoder("lite", device="cpu", image_size=64, stages=(4,)))


@pytest.mark.parametrize("sides", [(), (0,), (2, 9)])
def test_windows_that_do_not_fit_the_grid_are_refused(encoder, sides):
    with pytest.raises(EncoderError, match="expected windows of 1 to 8 patches"):
        WindowEncoder(encoder, sides=sides)


def test_winclip_refuses_text_features_that_are_not_two_rows():
    with pytest.raises(ValueError, match=r"expected text features \(2, E\)"):
        WinClip(size=SIZE, text=torch.zeros(3, 16))


def _one_stage(tokens: torch.Tensor) -> Features:
    return Features(stages=(tokens,), grids=((2, 2),), image=None)


def _describe(tokens: torch.Tensor) -> np.ndarray:
    unit = tokens.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=2, keepdims=True)
    mean = unit.mean(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def _abnormal(embedding: torch.Tensor, text: np.ndarray) -> float:
    normal, abnormal = (math.exp(100.0 * float(row @ embedding.double().numpy())) for row in text)
    return abnormal / (normal + abnormal)


def _to_nearest(own: torch.Tensor, theirs: torch.Tensor) -> list[float]:
    rows = theirs.flatten(0, 1).double().numpy()
    return [0.5 * (1.0 - float((rows @ one).max())) for one in own.double().numpy()]


def _spread_by_loops(scores: list[float], side: int) -> np.ndarray:
    """Scores of the windows of an 8x8 grid to the harmonic mean at each of its 64 patches."""
    wide = 9 - side
    out = np.empty(64)
    for patch in range(64):
        y, x = divmod(patch, 8)
        holding = [
            scores[top * wide + left]
            for top in range(wide)
            for left in range(wide)
            if top <= y < top + side and left <= x < left + side
        ]
        out[patch] = len(holding) / sum(1 / score for score in holding)
    return out
