"""`feedback`: what people say of verdicts is kept with the picture, listed, and guards later banks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import core
from core.decide import Decision, Thresholds, ThresholdState
from daemon.admin.guard import check_known_defects
from daemon.admin.session import Refused, Session
from daemon.feedback import Label, latest
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import a_verdict
from tests.pictures import samples

Admin = Callable[..., Answer]


@pytest.fixture
def key(installation: Installation, records: Records) -> str:
    """The key of a rejected part whose picture the daemon kept."""
    kept = installation.state / "frames/4/2026-11-22/part.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((installation.bad / "200.png").read_bytes())
    path = kept.relative_to(installation.state).as_posix()
    records.insert_inspections(
        [
            replace(a_verdict("cam4:boot:1"), product="silk", decision=Decision.REJECT, frame=path),
            replace(a_verdict("cam4:boot:2"), product="silk", decision=Decision.ACCEPT, frame=None),
        ]
    )
    return "cam4:boot:1"


def test_a_defect_is_kept_with_a_picture_of_its_own(admin: Admin, installation: Installation, key: str) -> None:
    answer = admin("feedback", key, "--defect", "--note", "torn thread")
    assert answer.code == 0, answer.err
    assert "every new bank and threshold of silk is tested on this part" in answer.err
    (row,) = admin("feedback", "--json").json
    assert (row["label"], row["note"], row["product"], row["line"]) == ("defect", "torn thread", "silk", 4)
    copy = installation.state / row["frame_path"]
    (installation.state / "frames/4/2026-11-22/part.png").unlink()
    assert copy.read_bytes() == (installation.bad / "200.png").read_bytes()


def test_a_false_reject_is_pointed_to_the_bank_and_the_latest_word_counts(
    admin: Admin, records: Records, key: str
) -> None:
    assert "propose --line 4" in admin("feedback", key, "--good").err
    admin("feedback", key, "--defect")
    admin("feedback", key, "--good", "--note", "only dust")
    assert [row.note for row in latest(records.database, product="silk", label=Label.GOOD)] == ["only dust"]
    assert latest(records.database, product="silk", label=Label.DEFECT) == []


def test_a_part_whose_picture_was_not_kept_is_said_so_and_takes_one_by_hand(
    admin: Admin, installation: Installation, key: str
) -> None:
    assert "only the label is stored" in admin("feedback", "cam4:boot:2", "--defect").err.lower()
    answer = admin("feedback", "cam4:boot:2", "--defect", "--image", installation.bad / "201.png", "--json")
    assert (installation.state / answer.json["frame_path"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("nobody", "--good"), 1, "no verdict with the key 'nobody'"),
        (("cam4:boot:1",), 2, "either --good or --defect"),
        (("cam4:boot:1", "--good", "--defect"), 2, "either --good or --defect"),
        (("--good",), 2, "name the verdict's key"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_kept(
    admin: Admin, records: Records, key: str, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = admin("feedback", *arguments)
    assert answer.code == code
    assert told in answer.err
    assert latest(records.database) == []


def test_a_picture_by_hand_that_is_none_is_refused(admin: Admin, key: str, tmp_path: Path) -> None:
    junk = tmp_path / "junk.png"
    junk.write_bytes(b"no picture")
    answer = admin("feedback", key, "--defect", "--image", junk)
    assert answer.code == 1
    assert str(junk) in answer.err


def test_a_bank_that_would_accept_a_known_defect_is_refused_by_name_unless_that_is_allowed(
    admin: Admin,
    installation: Installation,
    key: str,
    tiny_scorer: core.Scorer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin("feedback", key, "--defect")
    bank = core.enrol(tiny_scorer, samples(4), product="silk").bank
    session = Session(installation.config)
    strict = Thresholds(reject=-1e9, review=-1e9, state=ThresholdState.PROVISIONAL)
    blind = Thresholds(reject=1e9, review=1e9, state=ThresholdState.PROVISIONAL)

    def tried(thresholds: Thresholds, *, allow_misses: bool) -> tuple[str, ...]:
        return check_known_defects(session, bank, thresholds, allow_misses=allow_misses, scorer=tiny_scorer).missed

    assert tried(strict, allow_misses=False) == ()
    assert tried(blind, allow_misses=True) == (key,)
    with pytest.raises(Refused, match=key):
        tried(blind, allow_misses=False)
    review = Thresholds(reject=1e9, review=-1e9, state=ThresholdState.PROVISIONAL)
    assert tried(review, allow_misses=False) == ()  # a person looks at it
    session.close()


def test_a_known_defect_without_a_picture_is_named_and_never_counted_as_found(
    admin: Admin,
    installation: Installation,
    key: str,
    tiny_scorer: core.Scorer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin("feedback", "cam4:boot:2", "--defect")
    bank = core.enrol(tiny_scorer, samples(4), product="silk").bank
    session = Session(installation.config)
    trial = check_known_defects(session, bank, bank.thresholds, allow_misses=False, scorer=tiny_scorer)
    assert trial.cases == 0
    assert "cam4:boot:2" in capsys.readouterr().err
    session.close()
