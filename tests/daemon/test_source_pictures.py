"""Kept pictures lie once, under what is in them; unfinished files of killed writers are swept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import core
from core.errors import BankError
from daemon.durable import ABANDONED_S, sweep_drafts, write_durably
from daemon.kept_frames import png_bytes
from daemon.source_pictures import SourcePictures
from tests.pictures import weave


def test_a_picture_comes_back_as_the_sample_that_it_was(tmp_path: Path) -> None:
    data = png_bytes(weave(1))
    kept = SourcePictures(tmp_path, "cloth")
    sha256 = kept.keep(data)
    sample = kept.read("good", sha256)
    assert (sample.name, sample.sha256) == ("good", core.Sample.from_bytes("other", data).sha256)
    assert sample.image.shape == (48, 64, 3)
    assert kept.folder == tmp_path / "banks" / "cloth" / "sources"


def test_the_same_picture_lies_there_once(tmp_path: Path) -> None:
    kept = SourcePictures(tmp_path, "cloth")
    digests = {kept.keep(png_bytes(weave(seed))) for seed in (1, 2, 1)}
    assert len(list(kept.folder.iterdir())) == len(digests) == 2
    assert kept.missing([*digests, "0" * 64]) == ["0" * 64]


@pytest.mark.parametrize("sha256", ["0" * 64, "../../secret", "*"])
def test_a_picture_that_is_not_there_is_an_error_and_no_path_leads_out(tmp_path: Path, sha256: str) -> None:
    (tmp_path / "secret").write_bytes(b"no")
    with pytest.raises(BankError, match="is not among"):
        SourcePictures(tmp_path, "cloth").read("good", sha256)


def test_a_product_whose_name_could_be_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="product name"):
        SourcePictures(tmp_path, "../etc")


def test_old_unfinished_files_go_and_all_others_stay(tmp_path: Path) -> None:
    write_durably(tmp_path / "cloth" / "sources" / "a.png", b"whole")
    old, young = tmp_path / "cloth" / ".tmp-old", tmp_path / "cloth" / ".tmp-young"
    deep = tmp_path / "cloth" / "sources" / ".tmp-old"
    for draft in (old, young, deep):
        draft.write_bytes(b"half")
    an_hour_ago = time.time() - ABANDONED_S - 1
    for path in (old, deep, tmp_path / "cloth" / "sources" / "a.png"):
        os.utime(path, (an_hour_ago, an_hour_ago))
    assert sweep_drafts(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".tmp-young", "a.png"]


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    assert sweep_drafts(tmp_path / "none") == 0
