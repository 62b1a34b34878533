"""`calibrate`: files twice, live parts that a person vouches for, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import pytest

import core
from core.decide import Decision, ThresholdState
from daemon.admin.live_samples import live_samples, numbers
from daemon.admin.session import Refused, Session
from daemon.bank_store import publish, read_bank_file
from daemon.calibration_draw import chance
from daemon.feedback import Feedback, Label, add
from daemon.flow import Verdict
from daemon.records import LineAssignment, Records
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import a_verdict
from tests.pictures import samples, weave

Admin = Callable[..., Answer]

ACCEPTED = 24
SINCE = timedelta(hours=8)
RARE = [f"rare-{number}" for number in range(200) if chance(f"rare-{number}") < 0.5]
"""Keys of parts that a draw of every second part takes."""


@pytest.fixture(scope="module")
def bank(tiny_scorer: core.Scorer) -> core.ReferenceBank:
    return core.enrol(tiny_scorer, samples(4), product="wool").bank


@pytest.fixture
def line(installation: Installation, records: Records, bank: core.ReferenceBank) -> LineAssignment:
    """Line 4 makes wool; it accepted 48 parts, of which every second kept its picture."""
    assignment = publish(records, None, installation.state, bank, line=4, who="t", why=None, action="enroll")
    accepted = [a_part(installation, f"part-{number}", 300 + number, kept=number % 2 == 0) for number in range(48)]
    records.insert_inspections(accepted)
    return assignment


@pytest.fixture
def session(installation: Installation) -> Iterator[Session]:
    session = Session(installation.config)
    yield session
    session.close()


def a_part(
    installation: Installation,
    key: str,
    seed: int,
    *,
    kept: bool = True,
    decision: Decision = Decision.ACCEPT,
) -> Verdict:
    relative = f"frames/4/{key}.png"
    if kept:
        path = installation.state / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), weave(seed))
    verdict = a_verdict(key, decision=decision, at=datetime.now(UTC) - timedelta(minutes=5))
    return replace(verdict, product="wool", heatmap=None, frame=relative if kept else None)


def said(records: Records, key: str, label: Label) -> None:
    add(
        records.database,
        Feedback(
            key=key,
            line=4,
            product="wool",
            label=label,
            note=None,
            who="t",
            at=datetime.now(UTC),
            frame_path=None,
            frame_sha256="f" * 64,
        ),
    )


def drawn(session: Session, line: LineAssignment, *answers: str, yes: bool = False) -> list[str]:
    """The keys of the samples, after a person's answers; one that is asked more fails the test."""
    script = iter(answers)
    taken = live_samples(
        session,
        line,
        since=datetime.now(UTC) - SINCE,
        at_most=200,
        yes=yes,
        ask=lambda text: next(script),
    )
    assert next(script, None) is None
    return [picture.sample.name for picture in taken]


def test_live_parts_carry_a_line_to_calibrated(
    admin: Admin, installation: Installation, records: Records, line: LineAssignment
) -> None:
    answer = admin(
        "calibrate", "--line", 4, "--accepted-since", "8h", "--yes", "--max-false-rejects", 0.05, "--json"
    )
    assert answer.code == 0, answer.err
    assert (answer.json["threshold_state"], answer.json["calibration_scores"]["count"]) == ("calibrated", ACCEPTED)
    assert "24 of 48 accepted parts" in answer.err
    assert records.changes(4)[0].action == "calibrate"
    sheet = (installation.state / "contact-sheets/4/calibrate.html").read_text()
    assert sheet.count("data:image/jpeg;base64,") == ACCEPTED


def test_without_a_terminal_or_yes_the_sheet_is_written_and_nothing_else(
    admin: Admin, installation: Installation, records: Records, line: LineAssignment
) -> None:
    answer = admin("calibrate", "--line", 4, "--accepted-since", "8h")
    assert answer.code == 1
    assert "--yes" in answer.err
    assert (installation.state / "contact-sheets/4/calibrate.html").is_file()
    assert records.line(4) == line


def test_a_person_drops_accepted_parts_and_vouches_for_stopped_ones(
    session: Session, installation: Installation, records: Records, line: LineAssignment
) -> None:
    stopped = [
        a_part(installation, key, 500 + number, decision=Decision.REJECT) for number, key in enumerate(RARE[:3])
    ]
    records.insert_inspections(stopped)
    taken = drawn(session, line, "2, 5-6", "25")
    assert len(taken) == ACCEPTED - 3 + 1
    assert "part-2" not in taken
    assert RARE[0] in taken
    assert not set(RARE[1:3]) & set(taken)


def test_answers_that_are_none_are_asked_for_again_and_stopped_parts_need_a_word(
    session: Session, installation: Installation, records: Records, line: LineAssignment
) -> None:
    records.insert_inspections([a_part(installation, RARE[0], 500, decision=Decision.REVIEW)])
    assert len(drawn(session, line, "all of them", "99", "", "", "none")) == ACCEPTED


def test_with_yes_a_stopped_part_that_nobody_judged_is_refused_by_key(
    session: Session, installation: Installation, records: Records, line: LineAssignment
) -> None:
    records.insert_inspections([a_part(installation, RARE[0], 500, decision=Decision.REJECT)])
    with pytest.raises(Refused, match=RARE[0]):
        drawn(session, line, yes=True)


def test_feedback_is_a_word_given_before(
    session: Session, installation: Installation, records: Records, line: LineAssignment
) -> None:
    stopped = [
        a_part(installation, key, 500 + number, decision=Decision.REJECT) for number, key in enumerate(RARE[:2])
    ]
    records.insert_inspections(stopped)
    said(records, RARE[0], Label.GOOD)
    said(records, RARE[1], Label.DEFECT)
    said(records, "part-4", Label.DEFECT)
    taken = drawn(session, line, yes=True)
    assert RARE[0] in taken
    assert not {RARE[1], "part-4"} & set(taken)
    assert len(taken) == ACCEPTED


def test_a_good_part_of_the_draw_without_its_picture_is_refused_not_left_out(
    session: Session, installation: Installation, records: Records, line: LineAssignment
) -> None:
    records.insert_inspections([a_part(installation, RARE[0], 500, decision=Decision.REJECT, kept=False)])
    said(records, RARE[0], Label.GOOD)
    with pytest.raises(Refused, match="unfair"):
        drawn(session, line, yes=True)


def test_a_line_that_kept_no_picture_says_how_to_keep_some(
    session: Session, installation: Installation, records: Records, bank: core.ReferenceBank
) -> None:
    assignment = publish(records, None, installation.state, bank, line=4, who="t", why=None, action="enroll")
    with pytest.raises(Refused, match="accept_every"):
        drawn(session, assignment, yes=True)


def test_the_same_pictures_count_once(admin: Admin, installation: Installation, records: Records) -> None:
    admin("enroll", "--line", 4, installation.good)
    admin("calibrate", "--line", 4, installation.more)
    answer = admin("calibrate", "--line", 4, installation.more, "--json")
    assert answer.json["calibration_scores"]["count"] == 12
    assert "12 of the samples were calibrated on before" in answer.json["warnings"][0]


def test_replacing_forgets_the_earlier_samples(
    admin: Admin, installation: Installation, records: Records, line: LineAssignment
) -> None:
    admin("calibrate", "--line", 4, installation.more)
    answer = admin("calibrate", "--line", 4, "--accepted-since", "8h", "--yes", "--replace", "--json")
    assert answer.json["calibration_scores"]["count"] == ACCEPTED
    assignment = records.line(4)
    assert assignment is not None
    data = read_bank_file(installation.state, assignment.bank_path, assignment.bank_sha256)
    assert len(core.bank_from_bytes(data).header.calibration.calibration_sources) == ACCEPTED


def test_a_review_band_is_calibrated_stays_with_the_next_calibration_and_ends_where_q_is_p(
    admin: Admin, installation: Installation, records: Records, line: LineAssignment
) -> None:
    banded = admin("calibrate", "--line", 4, installation.more, "--max-reviews", 0.2, "--json")
    assert banded.json["review_above"] < banded.json["reject_above"]
    assert banded.json["threshold_state"] == ThresholdState.CALIBRATED
    plain = admin("calibrate", "--line", 4, "--accepted-since", "8h", "--yes", "--json")
    assert plain.json["review_above"] < plain.json["reject_above"]
    assert "kept: at most 20.00% reviewed or rejected" in plain.err
    rates = ("--max-false-rejects", 0.1, "--max-reviews", 0.1)
    ended = admin("calibrate", "--line", 4, installation.more, *rates, "--json")
    assert ended.json["review_above"] == ended.json["reject_above"]
    assert ended.json["max_reviews"] is None


def test_a_dry_run_of_a_calibration_changes_nothing(
    admin: Admin, installation: Installation, records: Records, line: LineAssignment
) -> None:
    answer = admin("calibrate", "--line", 4, installation.more, "--dry-run", "--json")
    assert answer.json["threshold_state"] == "calibrated"
    assert not answer.json["published"]
    assert records.line(4) == line


def test_references_that_came_from_the_line_are_left_out_of_its_calibration(
    admin: Admin, installation: Installation, records: Records
) -> None:
    kept = [a_part(installation, f"part-{number}", 300 + number) for number in range(12)]
    frames = [Path(installation.state / verdict.frame) for verdict in kept if verdict.frame]
    admin("enroll", "--line", 4, "--product", "wool", *frames[:4])
    records.insert_inspections(kept)
    answer = admin("calibrate", "--line", 4, "--accepted-since", "8h", "--yes", "--json")
    assert answer.json["calibration_scores"]["count"] == 8


@pytest.mark.parametrize(
    ("text", "found"), [("", set()), ("none", set()), ("3", {3}), ("1, 3-5 8", {1, 3, 4, 5, 8}), ("5-4", set())]
)
def test_numbers_are_read_as_people_write_them(text: str, found: set[int]) -> None:
    assert numbers(text, range(1, 10)) == found


@pytest.mark.parametrize("text", ["all", "3-", "0", "10", "1;2"])
def test_numbers_that_are_not_on_the_sheet_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected numbers"):
        numbers(text, range(1, 10))
