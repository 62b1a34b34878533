"""Heatmaps: what they show, and that a file is whole or not there."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest

from daemon.heatmaps import MAX_SIDE, heatmap_path, overlay, write_heatmap
from daemon.orphans import sweep_orphans

GREY = np.full((40, 60, 3), 128, np.uint8)
SCALE = (1.0, 3.0)


def test_a_part_below_the_scale_shows_itself_untouched():
    assert np.array_equal(overlay(GREY, np.full((16, 16), 0.9, np.float32), SCALE), GREY)


def spot(peak: float) -> np.ndarray:
    """A map of 16x16 with one warm region, whose middle is at `peak`."""
    heat = np.zeros((16, 16), np.float32)
    heat[5:10, 5:10] = 2.0
    heat[7, 7] = peak
    return heat


def outlined(picture: np.ndarray) -> np.ndarray:
    """(H, W) where the white of the outline is."""
    return (picture == 255).all(axis=-1)


def test_a_region_that_leaves_the_scale_is_outlined_as_a_whole_and_one_that_stays_within_it_is_not():
    big = np.full((160, 160, 3), 128, np.uint8)
    assert not outlined(overlay(big, spot(2.9), SCALE)).any()
    rows, columns = np.nonzero(outlined(overlay(big, spot(9.0), SCALE)))
    assert 30 <= rows.min() < 50 < 100 < rows.max() <= 125
    assert 30 <= columns.min() < 50 < 100 < columns.max() <= 125


def test_inside_the_outline_the_part_shows_through():
    rng = np.random.default_rng(0)
    part = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
    inside = overlay(part, spot(9.0), SCALE)[65:85, 65:85]
    assert np.corrcoef(inside.ravel(), part[65:85, 65:85].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("shade", [0, 90, 255])
def test_the_outline_is_seen_on_dark_and_on_bright_parts(shade: int):
    picture = overlay(np.full((160, 160, 3), shade, np.uint8), spot(9.0), SCALE)
    line = picture[:, 75].astype(int).sum(axis=1)
    assert line.max() == 3 * 255
    assert line.min() == 0


def test_the_scale_is_absolute_so_two_frames_can_be_compared():
    warm = overlay(GREY, np.full((16, 16), 1.5, np.float32), SCALE)
    hot = overlay(GREY, np.full((16, 16), 2.9, np.float32), SCALE)
    assert np.abs(hot.astype(int) - GREY).sum() > np.abs(warm.astype(int) - GREY).sum() > 0


def test_a_heatmap_has_the_frames_own_size_up_to_a_bound():
    small = np.zeros((8, 8), np.float32)
    assert overlay(GREY, small, SCALE).shape == GREY.shape
    wide = overlay(np.zeros((1000, 4000, 3), np.uint8), small, SCALE)
    assert wide.shape == (256, MAX_SIDE, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_can_be_drawn(value):
    heat = np.full((8, 8), value, np.float32)
    assert overlay(GREY, heat, SCALE).dtype == np.uint8


def test_a_scale_that_does_not_grow_is_refused():
    with pytest.raises(ValueError, match="scale that grows"):
        overlay(GREY, np.zeros((8, 8), np.float32), (1.0, 1.0))


def test_a_heatmap_comes_back_as_it_was_written(tmp_path: Path):
    path = heatmap_path(4, "camera:boot:7", date(2026, 11, 21))
    assert path == "heatmaps/4/2026-11-21/camera:boot:7.png"
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_heatmap(tmp_path, path, picture)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / path)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(read, picture)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "..", "a/b", "."])
def test_no_key_leads_out_of_its_folder(key: str):
    folder = "heatmaps/4/2026-11-21"
    path = heatmap_path(4, key, date(2026, 11, 21))
    assert os.path.dirname(os.path.normpath(path)) == folder


def test_a_disk_that_refuses_leaves_no_half_written_heatmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = heatmap_path(4, "key", date(2026, 11, 21))
    write_heatmap(tmp_path, path, GREY)
    before = (tmp_path / path).read_bytes()
    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_heatmap(tmp_path, path, GREY + 1)
    assert [file.name for file in (tmp_path / path).parent.iterdir()] == ["key.png"]
    assert (tmp_path / path).read_bytes() == before


def test_the_sweep_removes_orphans_and_drafts_and_nothing_else(tmp_path: Path):
    day = date(2026, 11, 21)
    known, orphan, old = (
        heatmap_path(4, "known", day),
        heatmap_path(4, "orphan", day),
        heatmap_path(4, "old", date(2026, 1, 1)),
    )
    for path in (known, orphan, old):
        write_heatmap(tmp_path, path, GREY)
    draft = (tmp_path / known).parent / ".tmp-abc"
    draft.write_bytes(b"half")
    assert sweep_orphans(tmp_path, {known}.__contains__, days=frozenset({day})) == 2
    assert not draft.exists()
    assert not (tmp_path / orphan).exists()
    assert (tmp_path / known).exists()
    assert (tmp_path / old).exists()
    assert sweep_orphans(tmp_path, {known}.__contains__) == 1
    assert sweep_orphans(tmp_path / "nothing", {known}.__contains__) == 0
