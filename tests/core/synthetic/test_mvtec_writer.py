"""Writing a synthetic data set: all of it or nothing, the same bytes for the same order."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import pytest

from core.errors import DatasetError
from core.synthetic import write_mvtec


def write(
    root: Path, *, seed: int = 1, defects: tuple[str, ...] = ("scratch", "hole"), varied: bool = False
) -> None:
    write_mvtec(
        root,
        size=64,
        seed=seed,
        surfaces=("paper", "washer"),
        defects=defects,
        train=2,
        good=1,
        per_defect=2,
        varied=varied,
    )


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_data_set_has_mvtecs_folders_and_a_mask_for_every_defect(tmp_path: Path) -> None:
    write(tmp_path / "set")
    names = contents(tmp_path / "set")
    assert len(names) == 2 * (2 + 1 + 2 * 2 * 2)
    assert "washer/train/good/0001.png" in names
    for name in names:
        if "/test/" in name and "/good/" not in name:
            mask = tmp_path / "set" / name.replace("/test/", "/ground_truth/").replace(".png", "_mask.png")
            drawn = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
            assert drawn is not None
            assert set(drawn.ravel().tolist()) == {0, 255}


def test_the_same_order_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(tmp_path / folder, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not set(contents(tmp_path / "a").values()) & set(contents(tmp_path / "c").values())


def test_what_else_is_asked_for_does_not_change_a_picture(tmp_path: Path) -> None:
    write(tmp_path / "two")
    write(tmp_path / "one", defects=("hole",))
    two = contents(tmp_path / "two")
    assert all(two[name] == digest for name, digest in contents(tmp_path / "one").items())


def test_a_root_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("kept")
    with pytest.raises(DatasetError, match="set: expected an empty or a new folder"):
        write(tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]


def test_an_empty_root_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set")
    assert contents(tmp_path / "set")


def test_an_unknown_defect_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'rust'"):
        write(tmp_path / "set", defects=("rust",))
    assert not list(tmp_path.iterdir())


def test_a_killed_writer_leaves_nothing_at_the_root(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        write_mvtec(
            tmp_path / "set",
            size=64,
            seed=1,
            surfaces=("paper",),
            defects=("hole",),
            train=2,
            good=1,
            per_defect=1,
            progress=kill,
        )
    assert not list(tmp_path.iterdir())
