"""`banks show`, `add-reference`, `remove-reference`: single samples in and out, audited, undone by rollback."""

from __future__ import annotations

import os
from collections.abc import Callable

import cv2
import pytest

import core
from core.bank import Source
from daemon.admin.references import chosen
from daemon.admin.session import Refused
from daemon.bank_store import read_bank_file
from daemon.records import Records
from daemon.source_pictures import SourcePictures
from tests.daemon.admin.conftest import Answer, Installation, write_pictures

Admin = Callable[..., Answer]


@pytest.fixture
def enrolled(admin: Admin, installation: Installation) -> None:
    """Line 4 with eight references."""
    answer = admin("enroll", "--line", 4, installation.good)
    assert answer.code == 0, answer.err


def names(admin: Admin) -> list[str]:
    return [
        row["name"].rpartition("/")[2] for row in admin("banks", "show", "--line", 4, "--json").json["samples"]
    ]


def bank_of(installation: Installation, records: Records) -> core.ReferenceBank:
    line = records.line(4)
    assert line is not None
    return core.bank_from_bytes(read_bank_file(installation.state, line.bank_path, line.bank_sha256))


def test_the_samples_of_a_bank_are_listed_with_their_scores(admin: Admin, enrolled: None) -> None:
    about = admin("banks", "show", "--line", 4, "--json").json
    assert about["threshold_state"] == "provisional"
    assert [row["number"] for row in about["samples"]] == list(range(1, 9))
    assert all(row["picture"] == "kept" and row["score"] is not None for row in about["samples"])
    answer = admin("banks", "show", "--line", 4)
    assert "007.png" in answer.out
    assert "an expectation, no promise" in answer.err


def test_removing_a_sample_gives_the_bank_that_enrolling_the_others_would(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    answer = admin("banks", "remove-reference", "--line", 4, "003.png", "--why", "a knot", "--json")
    assert answer.code == 0, answer.err
    assert names(admin) == [f"{index:03}.png" for index in range(8) if index != 3]
    removed = bank_of(installation, records)
    change = records.changes(4)[0]
    assert (change.action, change.why, change.revision) == ("remove-reference", "a knot", 2)
    (installation.good / "003.png").unlink()
    admin("enroll", "--line", 4, installation.good)
    anew = bank_of(installation, records)
    assert all(bool((a == b).all()) for a, b in zip(removed.tokens, anew.tokens, strict=True))
    assert removed.thresholds == anew.thresholds


def test_a_sample_that_was_added_is_in_the_bank_and_rollback_takes_it_out(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    more = installation.more / "100.png"
    answer = admin("banks", "add-reference", "--line", 4, more, "--why", "new lot", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["shots"] == 9
    assert names(admin)[-1] == "100.png"
    assert records.changes(4)[0].action == "add-reference"
    assert admin("banks", "rollback", "--line", 4).code == 0
    assert len(names(admin)) == 8
    history = [row["action"] for row in admin("lines", "history", "--line", 4, "--json").json]
    assert history == ["rollback", "add-reference", "enroll"]


def test_the_originals_may_be_gone_the_kept_pictures_serve(
    admin: Admin, installation: Installation, enrolled: None
) -> None:
    for file in installation.good.iterdir():
        file.unlink()
    assert admin("banks", "remove-reference", "--line", 4, "1", "2").code == 0
    assert len(names(admin)) == 6


def test_what_was_calibrated_on_is_scored_again_and_still_promises(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    admin("calibrate", "--line", 4, installation.more, "--max-false-rejects", 0.1)
    before = bank_of(installation, records).header.calibration
    answer = admin("banks", "remove-reference", "--line", 4, "8", "--json")
    assert answer.json["threshold_state"] == "calibrated"
    after = bank_of(installation, records).header.calibration
    assert after.calibration_sources == before.calibration_sources
    assert after.calibration_scores != before.calibration_scores
    assert after.expected_false_rejects == before.expected_false_rejects


def test_a_reference_that_becomes_one_of_the_calibration_leaves_it(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    """A part cannot vouch for itself on both sides."""
    admin("calibrate", "--line", 4, installation.more)
    answer = admin("banks", "add-reference", "--line", 4, installation.more / "105.png", "--json")
    assert answer.code == 0, answer.err
    header = bank_of(installation, records).header
    assert len(header.calibration.calibration_sources) == 11
    assert {source.sha256 for source in header.sources}.isdisjoint(header.calibration.calibration_sources)


def test_a_dry_run_shows_what_would_be_and_changes_nothing(admin: Admin, records: Records, enrolled: None) -> None:
    answer = admin("banks", "remove-reference", "--line", 4, "1", "--dry-run", "--json")
    assert (answer.json["shots"], answer.json["published"]) == (7, False)
    assert len(records.changes(4)) == 1


@pytest.mark.parametrize(
    ("sample", "words"),
    [("9", "no sample '9'"), ("nothing.png", "no sample 'nothing.png'"), ("ab", "no sample 'ab'")],
)
def test_a_sample_that_is_not_there_is_refused(
    admin: Admin, records: Records, enrolled: None, sample: str, words: str
) -> None:
    answer = admin("banks", "remove-reference", "--line", 4, sample)
    assert answer.code == 1
    assert words in answer.err
    assert len(records.changes(4)) == 1


def test_nothing_may_be_left_of_a_bank(admin: Admin, enrolled: None) -> None:
    answer = admin("banks", "remove-reference", "--line", 4, *range(1, 9))
    assert answer.code == 1
    assert "nothing would be left" in answer.err


def test_a_sample_is_in_a_bank_once(admin: Admin, installation: Installation, enrolled: None) -> None:
    answer = admin("banks", "add-reference", "--line", 4, installation.good / "001.png")
    assert answer.code == 1
    assert "001.png is one of the bank's references already" in answer.err


def test_a_picture_of_another_size_is_refused_by_name(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    odd = write_pictures(installation.good.parent / "odd", range(60, 61), size=(64, 64))
    answer = admin("banks", "add-reference", "--line", 4, odd)
    assert answer.code == 1
    assert "060.png: expected 64x48" in answer.err
    assert len(records.changes(4)) == 1


def test_a_picture_that_was_not_kept_or_was_changed_is_named(
    admin: Admin, installation: Installation, records: Records, enrolled: None
) -> None:
    header = bank_of(installation, records).header
    kept = SourcePictures(installation.state, header.product)
    path = kept.find(header.sources[1].sha256)
    assert path is not None
    path.write_bytes(b"something else")
    assert "was changed since it was enrolled" in admin("banks", "remove-reference", "--line", 4, "1").err
    path.unlink()
    answer = admin("banks", "remove-reference", "--line", 4, "1")
    assert answer.code == 1
    assert "001.png were not kept" in answer.err
    assert [row["picture"] for row in admin("banks", "show", "--line", 4, "--json").json["samples"]][:2] == [
        "kept",
        "missing",
    ]


def test_exchanged_red_and_blue_are_told_against_the_present_bank(
    admin: Admin, installation: Installation, enrolled: None
) -> None:
    for file in installation.good.iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file))[..., ::-1])
    answer = admin("enroll", "--line", 4, installation.good, "--dry-run", "--json")
    assert "red and blue exchanged" in " ".join(answer.json["warnings"])
    same = admin("enroll", "--line", 4, installation.more, "--dry-run", "--json")
    assert "red and blue" not in " ".join(same.json["warnings"])


def test_publishing_sweeps_what_a_killed_enrolment_left(
    admin: Admin, installation: Installation, enrolled: None
) -> None:
    left = installation.state / "banks" / "line-4" / ".tmp-killed"
    left.write_bytes(b"half a bank")
    os.utime(left, (0, 0))
    assert admin("banks", "remove-reference", "--line", 4, "1").code == 0
    assert not left.exists()


def test_a_sample_goes_by_number_name_or_the_beginning_of_its_digest() -> None:
    sources = [
        Source(name=f"{folder}/part.png", sha256=letter * 64) for folder, letter in zip("xyz", "abc", strict=True)
    ]
    assert chosen(sources, "2") is sources[1]
    assert chosen(sources, "z/part.png") is sources[2]
    assert chosen(sources, "aaaaaa") is sources[0]
    with pytest.raises(Refused, match="say its number"):
        chosen(sources, "part.png")
