"""Masks as Pillow squashes them; references that are drawn alike everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import datasets
from core.datasets import GOOD, ObjectClass, draw_references, open_dataset, read_image, read_mask
from core.datasets.mask_squash import squash_mask
from core.errors import DatasetError
from tests.core.datasets import sets
from tests.pictures import weave


def pillow_levels(mask: np.ndarray, size: int) -> np.ndarray:
    """(size, size) uint8: what torchvision's Resize of a Pillow picture gives the papers."""
    picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


# ---------------------------------------------------------------------------------------- masks


@settings(max_examples=60)
@given(
    height=st.integers(16, 200),
    wider=st.integers(0, 150),
    size=st.integers(1, 120),
    density=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_a_squashed_mask_is_pillows_pixel_for_pixel(
    height: int, wider: int, size: int, density: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, height + wider)) < density
    np.testing.assert_array_equal(squash_mask(mask, size), pillow_levels(mask, size) / 255.0 > 0.5)


@pytest.mark.parametrize("shape", [(1024, 1024), (900, 1000), (70, 1024)])
def test_a_squashed_mask_of_a_real_size_is_pillows_pixel_for_pixel(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    mask = rng.random(shape) < 0.5
    np.testing.assert_array_equal(squash_mask(mask, 518), pillow_levels(mask, 518) > 127)


def test_a_squashed_mask_of_a_tall_picture_differs_from_any_pillows_only_on_the_edge_of_a_half(
    rng: np.random.Generator,
) -> None:
    mask = rng.random((800, 100)) < 0.5
    levels = pillow_levels(mask, 150)
    ours = squash_mask(mask, 150)
    apart = ours != (levels > 127)
    assert set(np.unique(levels[apart])) <= {127, 128}


def test_a_mask_of_class_indices_counts_whatever_is_not_zero(tmp_path: Path) -> None:
    visa = open_dataset("visa", sets.write_visa(tmp_path / "visa"))
    first, second = [item for item in visa.classes[0].test if item.anomalous]
    expected = pillow_levels(sets.hole_mask() > 0, 40) > 127
    assert expected.any()
    np.testing.assert_array_equal(read_mask(first, 40), expected)
    np.testing.assert_array_equal(read_mask(second, 40), expected)


def test_a_good_picture_has_a_mask_of_nothing(tmp_path: Path) -> None:
    item = datasets.TestItem(image=tmp_path / "any.png", mask=None, defect=GOOD)
    mask = read_mask(item, 17)
    assert (mask.shape, mask.dtype, mask.any()) == ((17, 17), np.bool_, np.False_)


def test_a_defect_below_half_a_squashed_pixel_vanishes_and_the_picture_stays_anomalous(tmp_path: Path) -> None:
    speck = np.zeros((640, 640), np.uint8)
    speck[100:104, 100:104] = 255  # of squashed pixels that are 10 wide
    path = sets.write(tmp_path / "speck.png", speck)
    item = datasets.TestItem(image=path, mask=path, defect="speck")
    assert not read_mask(item, 64).any()
    assert read_mask(item, 640).sum() == 16
    assert item.anomalous


def test_a_mask_that_went_after_the_opening_is_refused_by_name(tmp_path: Path) -> None:
    item = datasets.TestItem(image=tmp_path / "a.png", mask=tmp_path / "gone.png", defect="hole")
    with pytest.raises(DatasetError, match=r"gone\.png: cannot be read: No such file"):
        read_mask(item, 32)


def test_a_picture_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = sets.write(tmp_path / "a.png", weave(3))
    np.testing.assert_array_equal(read_image(path), weave(3))


# ---------------------------------------------------------------------------------------- references


def _object_class(name: str = "bolt", count: int = 30, folder: str = "train") -> ObjectClass:
    train = tuple(Path(folder) / f"{number:03}.png" for number in range(count))
    return ObjectClass(name=name, train=train, test=())


def test_fewer_shots_are_the_first_of_more() -> None:
    bolt = _object_class()
    most = draw_references(bolt, 16, seed=3)
    assert len(set(most)) == 16
    assert [draw_references(bolt, shots, seed=3) for shots in (0, 1, 2, 8)] == [
        most[:shots] for shots in (0, 1, 2, 8)
    ]


def test_a_draw_depends_on_seed_class_and_file_name_alone() -> None:
    names = [path.name for path in draw_references(_object_class(), 8, seed=3)]
    assert [path.name for path in draw_references(_object_class(folder="moved"), 8, seed=3)] == names
    assert [path.name for path in draw_references(_object_class(), 8, seed=4)] != names
    assert [path.name for path in draw_references(_object_class("nut"), 8, seed=3)] != names


def test_a_draw_is_the_same_on_every_machine_and_day() -> None:
    assert [path.stem for path in draw_references(_object_class(), 4, seed=0)] == ["028", "018", "017", "025"]


def test_every_picture_is_drawn_about_equally_often() -> None:
    counts = dict.fromkeys(_object_class(count=10).train, 0)
    for seed in range(1000):
        for path in draw_references(_object_class(count=10), 3, seed=seed):
            counts[path] += 1
    assert all(240 < count < 360 for count in counts.values())  # 300 and four standard deviations


def test_more_shots_than_good_pictures_are_refused_with_class_and_counts() -> None:
    with pytest.raises(DatasetError, match=r"bolt: expected 4 good pictures or more .* there are 3"):
        draw_references(_object_class(count=3), 4, seed=0)


def test_data_sets_need_no_torch() -> None:
    program = "import sys, core.datasets; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
