"""The generator's laws: same seed same picture, a good one has no mask, a mask is what the defect changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.synthetic import DEFECTS, SURFACES, SyntheticPicture, draw_picture
from core.synthetic.camera import Camera
from core.synthetic.noise import Picture
from core.synthetic.picture import changed

SIZE = 96


def draw(seed: int, surface: str, defect: str | None, *, product: int | None = None) -> SyntheticPicture:
    return draw_picture(
        np.random.default_rng(seed),
        surface=surface,
        defect=defect,
        size=SIZE,
        product=product,
        strength=(0.1, 1.0),
    )


def pairings() -> Iterator[tuple[str, str]]:
    return ((surface, defect) for surface in SURFACES for defect in DEFECTS)


@pytest.mark.parametrize("surface", SURFACES)
def test_the_same_seed_draws_the_same_bytes(surface: str) -> None:
    first, second = (draw(3, surface, "stain") for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.object_name == second.object_name
    assert not np.array_equal(first.image, draw(4, surface, "stain").image)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_good_picture_has_an_empty_mask_and_some_structure(surface: str) -> None:
    piece = draw(5, surface, None)
    assert piece.image.shape == (SIZE, SIZE, 3)
    assert piece.image.dtype == np.uint8
    assert not piece.mask.any()
    assert (piece.surface, piece.defect) == (surface, "good")
    assert piece.object_name in SURFACES[surface].names
    assert piece.image.std() > 0


def test_every_defect_draws_on_every_surface_and_can_be_seen() -> None:
    for surface, defect in pairings():
        piece = draw(11, surface, defect)
        share = piece.mask.mean()
        assert piece.defect == defect
        assert 1e-4 <= share < 0.7, (surface, defect, share)


def test_a_mask_is_where_the_piece_differs_from_its_good_twin() -> None:
    for seed, (surface, defect) in enumerate(pairings()):
        if seed % 5:
            continue
        good, bad = draw(seed, surface, None), draw(seed, surface, defect)
        apart = np.abs(good.image.astype(int) - bad.image.astype(int)).max(axis=2)
        assert apart[bad.mask].mean() > 3 * apart[~bad.mask].mean(), (surface, defect)


@pytest.mark.usefixtures("_clean_sensor")
def test_before_noise_nothing_differs_outside_the_mask_beyond_the_threshold() -> None:
    for seed, (surface, defect) in enumerate(pairings()):
        if seed % 7:
            continue
        good, bad = draw(seed, surface, None), draw(seed, surface, defect)
        apart = np.abs(good.image.astype(int) - bad.image.astype(int)).max(axis=2)
        assert apart[~bad.mask].max(initial=0) <= 5
        assert apart[bad.mask].max(initial=0) >= 5


@pytest.fixture
def _clean_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that writes down what its lens sees, without noise or JPEG."""

    def record(
        self: Camera, rng: np.random.Generator, seen: Picture
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.round(seen * 255).astype(np.uint8)

    monkeypatch.setattr(Camera, "record", record)


def test_a_change_of_five_levels_is_marked_and_one_of_four_is_not() -> None:
    before = np.full((64, 64, 3), 0.5, np.float32)
    after = before.copy()
    after[10, 10, 0] += 5.1 / 255
    after[40, 40, 2] -= 4.9 / 255
    assert np.argwhere(changed(before, after)).tolist() == [[10, 10]]


def test_pieces_of_one_product_look_alike_and_those_of_two_do_not() -> None:
    def colour(seed: int, product: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        image = draw(seed, "plastic", None, product=product).image
        return np.asarray(image.mean(axis=(0, 1)))

    within = [float(np.abs(colour(0, product) - colour(1, product)).mean()) for product in range(8)]
    between = [float(np.abs(colour(0, product) - colour(0, product + 1)).mean()) for product in range(8)]
    assert np.mean(within) < 0.3 * np.mean(between)


def test_a_defect_of_an_object_stays_on_the_object() -> None:
    for seed in range(6):
        good, bad = draw(seed, "washer", None, product=1), draw(seed, "washer", "specks", product=1)
        region = SURFACES["washer"].draw(
            np.random.default_rng([1, list(SURFACES).index("washer")]), piece(seed), SIZE
        )[1]
        assert good.image.shape == bad.image.shape
        assert bad.mask[region].sum() > 0.5 * bad.mask.sum()


def piece(seed: int) -> np.random.Generator:
    """The stream that draw_picture gives a piece, after it has chosen the name."""
    rng = np.random.default_rng(seed).spawn(4)[1]
    rng.choice(SURFACES["washer"].names)
    return rng


def test_faint_defects_change_less_than_clear_ones() -> None:
    def contrast(strength: float) -> float:
        total = 0.0
        for seed in range(12):
            rngs = (np.random.default_rng(seed) for _ in range(2))
            good, bad = (
                draw_picture(rng, surface="paper", defect=defect, size=SIZE, strength=(strength, strength))
                for rng, defect in zip(rngs, (None, "crack"), strict=True)
            )
            total += np.abs(good.image.astype(int) - bad.image.astype(int)).max()
        return total

    assert contrast(0.1) < 0.6 * contrast(0.9)


def test_unknown_names_and_tiny_pictures_are_refused() -> None:
    with pytest.raises(KeyError, match="velvet"):
        draw(0, "velvet", None)
    with pytest.raises(KeyError, match="rust"):
        draw(0, "paper", "rust")
    with pytest.raises(ValueError, match="64"):
        draw_picture(np.random.default_rng(0), surface="paper", defect=None, size=32)


def test_there_are_as_many_families_as_promised() -> None:
    kinds = [surface.kind for surface in SURFACES.values()]
    assert kinds.count("texture") >= 16
    assert kinds.count("object") >= 6
    assert len(DEFECTS) >= 10
    assert all(len(surface.names) >= 2 for surface in SURFACES.values())
