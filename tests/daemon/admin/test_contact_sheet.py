"""The contact sheet: one page and one picture that say what an enrolment found, sample by sample."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

import core
from core.image import decode_image
from daemon.admin.contact_page import page_bytes, stacked, strip
from daemon.admin.contact_png import png_bytes
from daemon.admin.contact_sheet import ContactSheet, contact_sheet
from daemon.admin.session import Refused
from daemon.admin.sheet_files import KEEP, write_sheet
from tests.pictures import samples, weave

AT = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def sheet_of(scorer: core.Scorer, good: list[core.Sample], outside: int = 0) -> ContactSheet:
    enrolment = core.enrol(scorer, good, product="cloth", calibration=samples(outside, first=100))
    return contact_sheet(enrolment, good, line=4, made_at=AT)


@pytest.fixture(scope="module")
def spoilt(tiny_scorer: core.Scorer) -> ContactSheet:
    """Eight samples: the third is dark, the sixth the second once more; calibrated on nine others."""
    good = samples(8, size=(96, 128))
    good[2] = core.Sample.from_array("folder/<dark>.png", weave(2, size=(96, 128)) // 3)
    again = np.clip(good[1].image.astype(np.int16) + 1, 0, 255).astype(np.uint8)
    good[5] = core.Sample.from_array("again.png", again)
    enrolment = core.enrol(tiny_scorer, good, product="cloth")
    return contact_sheet(enrolment, good, line=4, made_at=AT)


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        assert tag != "script"


def test_each_warning_stands_at_its_sample_and_names_others_by_number(spoilt: ContactSheet) -> None:
    warned = {tile.number: " ".join(tile.warnings) for tile in spoilt.tiles if tile.warnings}
    assert "darker than the others" in warned[3]
    assert "nearly the same picture as sample 2" in warned[6]
    assert spoilt.flagged == len(warned)


def test_the_page_is_whole_in_itself_and_escapes_what_comes_from_outside(spoilt: ContactSheet) -> None:
    page = page_bytes(spoilt).decode()
    links = Links()
    links.feed(page)
    assert len(links.sources) == 2 * len(spoilt.tiles)
    assert all(source.startswith("data:image/jpeg;base64,") for source in links.sources)
    assert "&lt;dark&gt;.png" in page
    assert "<dark>" not in page
    assert "url(" not in page


def test_the_page_says_what_the_threshold_promises_and_what_a_better_promise_takes(
    spoilt: ContactSheet, tiny_scorer: core.Scorer
) -> None:
    page = page_bytes(spoilt).decode()
    assert "provisional" in page
    assert "99 more good parts" in page
    calibrated = sheet_of(tiny_scorer, samples(4), outside=9)
    assert "90 more good parts" in page_bytes(calibrated).decode()
    assert len(strip(calibrated).others) == 9


def test_the_picture_decodes_and_holds_a_row_of_four_tiles(spoilt: ContactSheet) -> None:
    image = decode_image(png_bytes(spoilt))
    assert image.shape[1] > 4 * 400
    small = decode_image(png_bytes(spoilt))
    np.testing.assert_array_equal(image, small)


def test_a_single_reference_has_no_score_of_its_own(tiny_scorer: core.Scorer) -> None:
    sheet = sheet_of(tiny_scorer, samples(1))
    assert [tile.score for tile in sheet.tiles] == [None]
    assert all(dot.label is None for dot in strip(sheet).references)
    assert b"Sample 1" in page_bytes(sheet)
    decode_image(png_bytes(sheet))


def test_dots_of_the_strip_never_cover_each_other() -> None:
    places = np.random.default_rng(0).uniform(0, 300, 60)
    dots = stacked([(float(x), None) for x in places], 20.0)
    assert len(dots) == 60
    for lane in {dot.lane for dot in dots}:
        row = [dot.x for dot in dots if dot.lane == lane]
        assert min(np.diff(row), default=20.0) >= 20.0


def test_sheets_lie_in_the_state_folder_and_the_oldest_go(spoilt: ContactSheet, tmp_path: Path) -> None:
    folder = tmp_path / "contact-sheets" / "4"
    folder.mkdir(parents=True)
    for day in range(KEEP):
        (folder / f"202601{day + 1:02}T000000Z.html").write_text("old")
        (folder / f"202601{day + 1:02}T000000Z.png").write_text("old")
    page = write_sheet(spoilt, tmp_path, None)
    assert page == folder / "20261122T040000Z.html"
    assert len(list(folder.glob("*.html"))) == len(list(folder.glob("*.png"))) == KEEP
    assert not (folder / "20260101T000000Z.html").exists()


def test_a_sheet_that_was_wanted_somewhere_else_lies_there(spoilt: ContactSheet, tmp_path: Path) -> None:
    page = write_sheet(spoilt, tmp_path / "state", tmp_path / "mine.png")
    assert page == tmp_path / "mine.html"
    assert cv2.imread(str(tmp_path / "mine.png")) is not None
    assert re.search("Line 4: cloth", page.read_text())


def test_a_place_that_cannot_be_written_is_refused_only_where_a_person_named_it(
    spoilt: ContactSheet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="cannot write the contact sheet"):
        write_sheet(spoilt, tmp_path, tmp_path / "file" / "sheet.html")
    assert write_sheet(spoilt, tmp_path / "file", None) is None
