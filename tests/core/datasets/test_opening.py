"""Data sets of the three layouts are listed as they are, and every fault is found before work begins."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import datasets
from core.datasets import GOOD, Layout, open_dataset, survey
from core.errors import DatasetError
from tests.core.datasets import sets
from tests.pictures import weave


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    return sets.write_mvtec(tmp_path / "mvtec")


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    return sets.write_visa(tmp_path / "visa")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sets.write_folder(tmp_path / "brackets")


def refusal(layout: Layout, root: Path, **options: object) -> str:
    with pytest.raises(DatasetError) as refused:
        open_dataset(layout, root, **options)  # type: ignore[arg-type]
    return str(refused.value)


# ---------------------------------------------------------------------------------------- sound sets


def test_mvtec_gives_classes_references_and_test_pictures_with_their_masks(mvtec: Path) -> None:
    dataset = open_dataset("mvtec", mvtec)
    assert [each.name for each in dataset.classes] == ["cloth", "metal_nut"]
    nut = dataset.classes[1]
    assert [path.name for path in nut.train] == [f"{n:03}.png" for n in range(5)]
    assert [(item.defect, item.image.name) for item in nut.test] == [
        (kind, f"{n:03}.png") for kind in ("good", "hole", "pit") for n in range(2)
    ]
    assert [item.anomalous for item in nut.test] == [False] * 2 + [True] * 4
    assert nut.test[0].mask is None
    assert nut.test[3].mask == mvtec / "metal_nut" / "ground_truth" / "hole" / "001_mask.png"


def test_visa_is_what_its_table_says(visa: Path) -> None:
    sets.write(visa / "candle/Data/Images/Normal/9999.JPG", weave(9))  # which the table does not name
    dataset = open_dataset("visa", visa)
    candle = dataset.classes[0]
    assert (candle.name, len(dataset.classes)) == ("candle", 2)
    assert [path.name for path in candle.train] == ["0001.JPG", "0002.JPG", "0004.JPG"]
    assert [(item.defect, item.image.name) for item in candle.test] == [
        ("anomaly", "000.JPG"),
        ("anomaly", "001.JPG"),
        (GOOD, "0000.JPG"),
        (GOOD, "0003.JPG"),
    ]
    assert candle.test[1].mask == visa / "candle/Data/Masks/Anomaly/001.png"


def test_the_order_of_visas_table_and_a_byte_order_mark_change_nothing(visa: Path) -> None:
    before = open_dataset("visa", visa)
    table = sets.write_table(visa, _rows(visa)[::-1])
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert open_dataset("visa", visa) == before


def test_a_folder_is_one_class_of_its_own_name(folder: Path) -> None:
    (only,) = open_dataset("folder", folder).classes
    assert only.name == "brackets"
    assert [path.parent.name for path in only.train] == ["reference"] * 3
    assert [item.defect for item in only.test] == [GOOD] * 3 + ["hole"] * 3
    assert only.test[-1].mask == folder / "masks" / "hole" / "2.png"


def test_a_folder_may_lack_references(folder: Path) -> None:
    shutil.rmtree(folder / "reference")
    assert open_dataset("folder", folder).classes[0].train == ()


def test_only_the_classes_asked_for_are_looked_at(mvtec: Path) -> None:
    (mvtec / "cloth" / "train" / "good" / "000.png").write_bytes(b"")
    dataset = open_dataset("mvtec", mvtec, classes=["metal_nut"])
    assert [each.name for each in dataset.classes] == ["metal_nut"]


def test_files_that_are_no_pictures_and_hidden_ones_are_left_alone(mvtec: Path) -> None:
    (mvtec / "cloth" / "test" / "hole" / "notes.txt").write_text("x")
    (mvtec / "cloth" / "test" / "hole" / "._000.png").write_bytes(b"x")
    (mvtec / ".cache").mkdir()
    assert survey("mvtec", mvtec).faults == ()


def test_a_jpeg_whose_size_stands_behind_a_long_preview_is_read(mvtec: Path) -> None:
    path = sets.write(mvtec / "cloth/train/good/long.jpg", weave(3))
    plain = path.read_bytes()
    preview = b"\xff\xe1\xff\xff" + bytes(65533)  # an APP1 segment of the greatest length
    path.write_bytes(plain[:2] + preview + preview + plain[2:])
    assert path in open_dataset("mvtec", mvtec).classes[0].train


def test_progress_counts_every_picture(mvtec: Path) -> None:
    seen = []
    open_dataset("mvtec", mvtec, progress=lambda what, done, total: seen.append((done, total)))
    assert seen == [(done, 22) for done in range(1, 23)]


# ---------------------------------------------------------------------------------------- wrong roots


@pytest.mark.parametrize(
    ("layout", "below", "says"),
    [
        ("mvtec", "nowhere", "nowhere: no such folder"),
        ("mvtec", "mvtec/cloth/license.txt", "is no folder"),
        ("mvtec", "mvtec/cloth", "Is it {tmp}/mvtec?"),
        ("mvtec", "mvtec/cloth/test", "Is it {tmp}/mvtec?"),
        ("mvtec", "mvtec/cloth/test/hole", "Is it {tmp}/mvtec?"),
        ("folder", "mvtec", "It looks like layout mvtec"),
        ("mvtec", "", "Is it {tmp}/mvtec?"),
        ("mvtec", "visa/split_csv", "CLASS/{{train/good,test/good,test/DEFECT,ground_truth/DEFECT}}"),
        ("visa", "visa/candle", "Is it {tmp}/visa?"),
        ("visa", "mvtec", "expected split_csv/1cls.csv"),
        ("folder", "visa/split_csv", "good and DEFECT"),
    ],
)
def test_a_wrong_root_says_what_was_expected_and_where_it_may_be(
    mvtec: Path, visa: Path, tmp_path: Path, layout: Layout, below: str, says: str
) -> None:
    error = refusal(layout, tmp_path / below)
    assert str(tmp_path / below) in error
    assert says.format(tmp=tmp_path) in error


def test_a_root_of_another_layout_is_recognised(tmp_path: Path) -> None:
    root = sets.write_visa(tmp_path / "far" / "off" / "visa")
    assert refusal("mvtec", root).endswith("It looks like layout visa")


@pytest.mark.parametrize("asked", [["cloth", "bottle"], []])
def test_an_unknown_class_is_named_beside_those_there_are(mvtec: Path, asked: list[str]) -> None:
    error = refusal("mvtec", mvtec, classes=asked)
    assert "cloth, metal_nut" in error
    assert ("asked for bottle" if asked else "asked for none") in error


# ---------------------------------------------------------------------------------------- faults of folders

Break = Callable[[Path], object]


def _emptied(path: str) -> Break:
    def empty(root: Path) -> None:
        shutil.rmtree(root / path)
        (root / path).mkdir()

    return empty


MVTEC_FAULTS: dict[str, tuple[Break, str]] = {
    "a missing mask": (
        lambda root: (root / "cloth/ground_truth/hole/001_mask.png").unlink(),
        "{root}/cloth/test/hole/001.png: has no mask {root}/cloth/ground_truth/hole/001_mask.png",
    ),
    "no masks at all": (
        lambda root: shutil.rmtree(root / "cloth/ground_truth"),
        "{root}/cloth/test/hole/000.png: has no mask",
    ),
    "a mask without picture": (
        lambda root: sets.write(root / "cloth/ground_truth/hole/077_mask.png", sets.hole_mask()),
        "077_mask.png: is the mask of no picture",
    ),
    "masks of a kind that is not there": (
        lambda root: shutil.rmtree(root / "cloth/test/hole"),
        "{root}/cloth/ground_truth/hole: no test pictures go with these masks",
    ),
    "two pictures of one mask": (
        lambda root: sets.write(root / "cloth/test/hole/001.jpg", weave(1)),
        "{root}/cloth/test/hole/001.jpg: shares its mask",
    ),
    "a mask of another size": (
        lambda root: sets.write(root / "cloth/ground_truth/hole/001_mask.png", sets.hole_mask(size=(48, 60))),
        "001_mask.png: is 60x48, its picture {root}/cloth/test/hole/001.png is 64x48",
    ),
    "a mask that lies on its side": (
        lambda root: sets.write(root / "cloth/ground_truth/hole/001_mask.png", sets.hole_mask().T),
        "is 48x64, its picture",
    ),
    "an empty mask": (
        lambda root: sets.write(root / "cloth/ground_truth/pit/000_mask.png", sets.hole_mask(0)),
        "{root}/cloth/ground_truth/pit/000_mask.png: marks no pixel",
    ),
    "a JPEG under a mask's name": (
        lambda root: shutil.copy(
            sets.write(root / "mask.jpg", sets.hole_mask()), root / "cloth/ground_truth/pit/000_mask.png"
        ),
        "000_mask.png: expected a mask in PNG",
    ),
    "a mask of 16 bits": (
        lambda root: sets.write(root / "cloth/ground_truth/pit/000_mask.png", sets.hole_mask(1).astype(np.uint16)),
        "expected a mask in PNG of at most 8 bits a channel, got a 16-bit PNG",
    ),
    "a damaged mask": (
        lambda root: _cut(root / "cloth/ground_truth/pit/000_mask.png", 60),
        "{root}/cloth/ground_truth/pit/000_mask.png: damaged PNG",
    ),
    "no references": (_emptied("cloth/train/good"), "{root}/cloth/train/good: holds no pictures"),
    "no train folder": (
        lambda root: shutil.rmtree(root / "cloth/train"),
        "{root}/cloth/train/good: no such folder",
    ),
    "an empty kind": (_emptied("cloth/test/good"), "{root}/cloth/test/good: holds no pictures"),
    "an empty test folder": (_emptied("cloth/test"), "{root}/cloth/test: holds no folder good or DEFECT"),
    "no test folder": (lambda root: shutil.rmtree(root / "cloth/test"), "{root}/cloth/test: holds no folder good"),
    "an empty picture": (
        lambda root: (root / "cloth/test/good/001.png").write_bytes(b""),
        "{root}/cloth/test/good/001.png: expected a JPEG or PNG file, got 0 bytes",
    ),
    "a picture that is a text": (
        lambda root: (root / "cloth/train/good/001.png").write_text("version https://git-lfs"),
        "{root}/cloth/train/good/001.png: expected a JPEG or PNG file",
    ),
    "a damaged header": (
        lambda root: _spoil(root / "cloth/train/good/001.png", 20),
        "{root}/cloth/train/good/001.png: damaged PNG header",
    ),
    "another format": (
        lambda root: sets.write(root / "cloth/train/good/777.bmp", weave(1)),
        "{root}/cloth/train/good/777.bmp: expected a JPEG or PNG file",
    ),
}


def _cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def _spoil(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("fault", MVTEC_FAULTS)
def test_mvtec_with_a_fault_is_refused_by_the_name_of_the_file(mvtec: Path, fault: str) -> None:
    breaks, says = MVTEC_FAULTS[fault]
    breaks(mvtec)
    assert says.format(root=mvtec) in refusal("mvtec", mvtec)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (lambda root: (root / "masks/hole/1.png").unlink(), "hole/1.jpg: has no mask {root}/masks/hole/1.png"),
        (lambda root: shutil.rmtree(root / "masks"), "{root}/hole/0.jpg: has no mask"),
        (
            lambda root: sets.write(root / "masks/hole/1.png", sets.hole_mask(0)),
            "masks/hole/1.png: marks no pixel",
        ),
        (_emptied("reference"), "{root}/reference: holds no pictures"),
        (_emptied("good"), "{root}/good: holds no pictures"),
        (
            lambda root: sets.write(root / "masks/pit/1.png", sets.hole_mask()),
            "{root}/masks/pit: no test pictures",
        ),
        (lambda root: _cut(root / "good/1.jpg", 100), "{root}/good/1.jpg: damaged JPEG header"),
    ],
)
def test_a_folder_with_a_fault_is_refused_by_the_name_of_the_file(folder: Path, breaks: Break, says: str) -> None:
    breaks(folder)
    assert says.format(root=folder) in refusal("folder", folder)


# ---------------------------------------------------------------------------------------- faults of VisA's table

ANOMALY = "candle/Data/Images/Anomaly/000.JPG"
ANOMALY_MASK = "candle/Data/Masks/Anomaly/000.png"
NORMAL = "candle/Data/Images/Normal/0001.JPG"


def _rows(root: Path) -> list[list[str]]:
    with (root / "split_csv" / "1cls.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            ["candle", "test", "anomaly", "candle/none.JPG", ANOMALY_MASK],
            "there is no file {root}/candle/none.JPG",
        ),
        (["candle", "test", "anomaly", ANOMALY, "candle/none.png"], "there is no file {root}/candle/none.png"),
        (["candle", "test", "anomaly", ANOMALY, ""], "{root}/" + ANOMALY + " is anomalous and has no mask"),
        (["candle", "train", "anomaly", ANOMALY, ANOMALY_MASK], "got train,anomaly"),
        (["candle", "val", "normal", ANOMALY, ""], "got val,normal"),
        (["candle", "test", "normal", NORMAL, ""], "{root}/" + NORMAL + " is named by 2 rows"),
        (["candle", "test", "normal", "../outside.JPG", ""], "expected a path below {root}, got '../outside.JPG'"),
        (["candle", "test", "normal", "", ""], "expected a path below {root}, got ''"),
        (["candle", "test"], "got test,"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_its_line(visa: Path, row: list[str], says: str) -> None:
    rows = [kept for kept in _rows(visa) if kept[3] != ANOMALY]
    sets.write_table(visa, [*rows, row])
    found = survey("visa", visa)
    (fault,) = [
        fault for fault in found.faults if says.format(root=visa) in fault and f"line {len(rows) + 2}" in fault
    ]
    assert fault.startswith(str(visa / "split_csv" / "1cls.csv"))


def test_a_class_of_which_the_table_names_no_good_or_no_test_pictures_is_refused(visa: Path) -> None:
    rows = _rows(visa)
    sets.write_table(visa, [row for row in rows if row[:2] != ["candle", "train"]])
    assert "no usable train or no test pictures of candle" in refusal("visa", visa)
    sets.write_table(visa, [row for row in rows if row[:2] != ["pcb1", "test"]])
    assert "pictures of pcb1" in refusal("visa", visa)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"object,split,label,image\n", "there is no mask"),
        (b"\xff\xfe\x00\x01", "no table of comma-separated values"),
        (b'object,split,label,image,mask\ncandle,"test"x,normal,a,b\n', "no table of comma-separated values"),
    ],
)
def test_a_table_that_is_none_is_refused(visa: Path, content: bytes, says: str) -> None:
    (visa / "split_csv" / "1cls.csv").write_bytes(content)
    assert says in refusal("visa", visa)


def test_a_mask_of_another_size_is_refused_in_visa_too(visa: Path) -> None:
    sets.write(visa / ANOMALY_MASK, sets.hole_mask(1, size=(64, 64)))
    assert f"{visa / ANOMALY_MASK}: is 64x64, its picture" in refusal("visa", visa)


# ---------------------------------------------------------------------------------------- survey


def test_a_survey_lists_every_fault_and_every_size(mvtec: Path) -> None:
    (mvtec / "cloth/ground_truth/hole/001_mask.png").unlink()
    sets.write(mvtec / "metal_nut/ground_truth/pit/000_mask.png", sets.hole_mask(0))
    sets.write(mvtec / "metal_nut/train/good/005.png", weave(5, size=(32, 40)))
    found = survey("mvtec", mvtec)
    assert len(found.faults) == 2
    assert found.sizes == {"cloth": ((48, 64),), "metal_nut": ((32, 40), (48, 64))}
    assert refusal("mvtec", mvtec) == f"{found.faults[0]} (and 1 more fault)"


def test_damage_within_a_picture_shows_in_a_survey_and_when_it_is_read(mvtec: Path) -> None:
    path = mvtec / "cloth/train/good/003.png"
    _cut(path, path.stat().st_size // 2)
    open_dataset("mvtec", mvtec)
    (fault,) = survey("mvtec", mvtec).faults
    assert fault.startswith(f"{path}: damaged PNG")
    with pytest.raises(DatasetError, match=r"003\.png: damaged PNG"):
        datasets.read_image(path)


# ---------------------------------------------------------------------------------------- digest


def test_the_digest_follows_a_set_that_moves_and_no_other_change(mvtec: Path, tmp_path: Path) -> None:
    before = open_dataset("mvtec", mvtec).digest()
    moved = mvtec.rename(tmp_path / "elsewhere")
    assert open_dataset("mvtec", moved).digest() == before
    digests = {before, open_dataset("mvtec", moved, classes=["cloth"]).digest()}
    first, second = moved / "cloth/train/good/000.png", moved / "cloth/train/good/001.png"
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    digests.add(open_dataset("mvtec", moved).digest())
    sets.write(moved / "cloth/ground_truth/hole/000_mask.png", sets.hole_mask(254))
    digests.add(open_dataset("mvtec", moved).digest())
    assert len(digests) == 4


def test_the_digest_tells_what_a_picture_is_for(visa: Path) -> None:
    before = open_dataset("visa", visa).digest()
    rows = [["candle", "test", *row[2:]] if row[3] == NORMAL else row for row in _rows(visa)]
    sets.write_table(visa, rows)
    assert open_dataset("visa", visa).digest() != before


def test_the_digest_is_of_use_name_and_hash_of_each_file_in_order(folder: Path) -> None:
    files = sorted(
        [("train", f"reference/{n}.png") for n in range(3)]
        + [("test good", f"good/{n}.jpg") for n in range(3)]
        + [("test hole", f"hole/{n}.jpg") for n in range(3)]
        + [("mask", f"masks/hole/{n}.png") for n in range(3)]
    )
    lines = [f"{use}\0{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\0" for use, name in files]
    assert open_dataset("folder", folder).digest() == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_digest_of_a_file_that_went_names_it(mvtec: Path) -> None:
    dataset = open_dataset("mvtec", mvtec)
    dataset.classes[0].train[0].unlink()
    with pytest.raises(DatasetError, match=r"cloth/train/good/000\.png: cannot be read"):
        dataset.digest()
