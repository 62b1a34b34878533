"""Findings about samples: each kind on real and drawn pictures, and none on clean ones."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from benchmarks import textile
from core.image import Image, decode_image
from core.picture_traits import PictureTraits, picture_traits, red_minus_blue
from core.sample_findings import FindingKind, colours_against, exchanged, sample_findings, unlike_the_rest
from core.synthetic import draw_picture

Spoil = Callable[[Image], Image]


def cloth(count: int) -> list[Image]:
    """Real textile pictures, grey."""
    return [decode_image(picture.path.read_bytes()) for picture in textile.development("nominal")[:count]]


def drawn(surface: str, count: int, *, product: int = 5) -> list[Image]:
    """Drawn good pieces of one product, in colour."""
    draws = (np.random.default_rng([11, seed]) for seed in range(count))
    return [draw_picture(rng, surface=surface, defect=None, size=192, product=product).image for rng in draws]


def named(images: list[Image]) -> list[tuple[str, PictureTraits]]:
    return [(f"good-{index}", picture_traits(image)) for index, image in enumerate(images)]


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)


def shaken(image: Image) -> Image:
    """Motion along the rows only."""
    return np.asarray(cv2.filter2D(image, -1, np.full((1, 7), 1 / 7)), np.uint8)


def lit(factor: float) -> Spoil:
    return lambda image: np.clip(image * factor, 0, 255).astype(np.uint8)


def grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def swapped(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def without_blue(image: Image) -> Image:
    image = image.copy()
    image[..., 2] = 0
    return image


@pytest.mark.parametrize("surface", ["cloth", "leather", "felt", "hex_nut", "wood"])
def test_clean_samples_raise_no_finding(surface: str) -> None:
    images = cloth(40) if surface == "cloth" else drawn(surface, 12)
    assert sample_findings(named(images)) == ()


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (blurred, FindingKind.BLUR, "less fine detail"),
        (shaken, FindingKind.BLUR, "less fine detail"),
        (lit(0.6), FindingKind.EXPOSURE, "darker than the others"),
        (lit(1.7), FindingKind.EXPOSURE, "brighter than the others"),
        (lit(0.1), FindingKind.EXPOSURE, "almost black"),
    ],
    ids=["blur", "motion", "dark", "bright", "black"],
)
def test_a_spoilt_picture_of_cloth_is_named_and_no_other_is(spoil: Spoil, kind: FindingKind, words: str) -> None:
    images = cloth(8)
    images[3] = spoil(images[3])
    findings = sample_findings(named(images))
    assert [finding.sample for finding in findings] == ["good-3"]
    assert findings[0].kind is kind
    assert words in str(findings[0])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (grey, "is grey, the others are in colour"),
        (swapped, "red and blue exchanged"),
        (without_blue, "empty blue channel"),
    ],
    ids=["grey", "swapped", "dead channel"],
)
def test_a_picture_of_other_colours_is_named(spoil: Spoil, words: str) -> None:
    images = drawn("wood", 8)
    images[5] = spoil(images[5])
    told = [str(each) for each in sample_findings(named(images)) if each.kind is FindingKind.COLOUR]
    assert len(told) == 1
    assert told[0].startswith("good-5")
    assert words in told[0]


def test_a_picture_in_colour_among_grey_ones_is_named() -> None:
    images = cloth(6)
    images[1] = np.ascontiguousarray(images[1] * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    assert "good-1 is in colour, the others are grey" in map(str, sample_findings(named(images)))


def test_the_same_part_taken_twice_is_found_through_noise_and_jpeg() -> None:
    images = cloth(8)
    noise = np.random.default_rng(0).normal(0, 3, images[2].shape)
    again = np.clip(images[2] + noise, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", again, (cv2.IMWRITE_JPEG_QUALITY, 70))
    images[6] = decode_image(data.tobytes())
    findings = sample_findings(named(images))
    assert [(each.sample, each.kind) for each in findings] == [("good-6", FindingKind.DUPLICATE)]
    assert "good-2" in findings[0].text


def test_a_line_that_stood_still_gives_one_finding_of_the_whole_set() -> None:
    rng = np.random.default_rng(0)
    part = cloth(1)[0]
    images = [np.clip(part + rng.normal(0, 2, part.shape), 0, 255).astype(np.uint8) for _ in range(8)]
    findings = sample_findings(named(images))
    assert [(each.sample, each.kind) for each in findings] == [(None, FindingKind.DUPLICATE)]


def test_a_set_whose_red_and_blue_are_exchanged_is_told_against_a_known_picture() -> None:
    images = drawn("leather", 6)
    known = images.pop()
    assert colours_against(named(images), known) == ()
    (finding,) = colours_against(named([swapped(image) for image in images]), known)
    assert finding.sample is None
    assert "red and blue exchanged" in str(finding)


def test_grey_products_say_nothing_of_the_colour_order() -> None:
    images = cloth(5)
    assert colours_against(named([swapped(image) for image in images]), images[0]) == ()


def test_exchanging_red_and_blue_negates_the_quantiles_and_turns_their_order() -> None:
    image = drawn("wood", 1)[0]
    np.testing.assert_allclose(exchanged(np.array(red_minus_blue(image))), red_minus_blue(swapped(image)))


def test_three_samples_cannot_say_which_one_is_odd() -> None:
    images = cloth(3)
    images[0] = blurred(images[0])
    assert sample_findings(named(images)) == ()


def test_a_reference_far_from_the_others_in_any_one_statistic_is_named() -> None:
    statistics = np.random.default_rng(0).normal(1.0, 0.1, (8, 2))
    names = [f"good-{index}" for index in range(8)]
    assert unlike_the_rest(names, statistics, ("bank.4.top1", "bank.4.pool")) == ()
    statistics[4, 1] = 3.0
    (finding,) = unlike_the_rest(names, statistics, ("bank.4.top1", "bank.4.pool"))
    assert finding.sample == "good-4"
    assert "as a whole" in finding.text
    statistics[4] = -3.0  # nearer to the others than they are to each other is nothing to worry about
    assert unlike_the_rest(names, statistics, ("bank.4.top1", "bank.4.pool")) == ()
