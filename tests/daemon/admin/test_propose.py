"""`propose`: false rejects become references only after a trial on what the line has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.decide import Decision
from daemon.admin.references import in_charge
from daemon.admin.session import Session
from daemon.bank_trial import KNOWN_GOOD, PASSED, Outcome, summary
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation, write_pictures
from tests.daemon.test_records import a_verdict

Admin = Callable[..., Answer]


@pytest.fixture
def line(admin: Admin, installation: Installation, records: Records) -> None:
    """Line 4 enrolled, with three kept parts: two good ones that were stopped, one defective that was accepted."""
    assert admin("enroll", "--line", 4, installation.good, "--yes").code == 0
    stopped = write_pictures(installation.state / "frames", range(300, 302))
    (stopped / "bad.png").write_bytes((installation.bad / "200.png").read_bytes())
    records.insert_inspections(
        [
            part(1, "300.png", Decision.REJECT),
            part(2, "301.png", Decision.REVIEW),
            part(3, "bad.png", Decision.ACCEPT),
        ]
    )


def part(number: int, picture: str, decision: Decision):
    return replace(
        a_verdict(f"cam4:boot:{number}"), line=4, product="line-4", decision=decision, frame=f"frames/{picture}"
    )


def sources(installation: Installation) -> list[str]:
    session = Session(installation.config)
    names = [source.name for source in in_charge(session, 4)[1].header.sources]
    session.close()
    return names


def test_a_false_reject_becomes_a_reference_with_its_key_in_the_audit(
    admin: Admin, installation: Installation, records: Records, line: None
) -> None:
    admin("feedback", "cam4:boot:1", "--good")
    answer = admin("propose", "--line", 4, "--since", "5200w", "--yes")
    assert answer.code == 0, answer.err
    assert "1 false reject proposed; on 2 other parts" in answer.err
    assert "cam4:boot:1" in sources(installation)
    assert len(sources(installation)) == 9
    change = records.changes(4)[0]
    assert (change.action, change.why) == ("propose", "false rejects: cam4:boot:1")
    assert admin("propose", "--line", 4, "--yes").code == 1  # it is in the bank now


def test_a_bank_that_lets_a_known_defect_pass_is_not_swapped_in(
    admin: Admin, installation: Installation, records: Records, line: None
) -> None:
    """The worst mistake there is: a defective part marked good, so that its like are accepted from then on."""
    frames = installation.state / "frames"
    (frames / "300.png").write_bytes((frames / "bad.png").read_bytes())
    admin("feedback", "cam4:boot:3", "--defect")
    admin("feedback", "cam4:boot:1", "--good")
    before = records.line(4)
    answer = admin("propose", "--line", 4, "--since", "5200w", "--yes")
    assert answer.code == 1
    assert "these would be accepted: cam4:boot:3" in answer.err
    assert records.line(4) == before
    assert admin("propose", "--line", 4, "--since", "5200w", "--yes", "--allow-misses").code == 0


def test_a_dry_run_shows_the_trial_and_changes_nothing(
    admin: Admin, installation: Installation, records: Records, line: None
) -> None:
    admin("feedback", "cam4:boot:1", "--good")
    before = records.line(4)
    answer = admin("propose", "--line", 4, "--since", "5200w", "--dry-run")
    assert answer.code == 0, answer.err
    assert "stopped then" in answer.out
    assert records.line(4) == before


def test_thresholds_that_were_set_by_hand_are_said_to_end(admin: Admin, line: None) -> None:
    assert admin("threshold", "--line", 4, "--reject", 50, "--review", 40).code == 0
    admin("feedback", "cam4:boot:1", "--good")
    answer = admin("propose", "--line", 4, "--since", "5200w", "--dry-run")
    assert "were set by hand (reject above 50, review above 40)" in answer.err


def test_a_known_defect_whose_picture_came_by_hand_is_in_the_trial(
    admin: Admin, installation: Installation, records: Records, line: None
) -> None:
    records.insert_inspections([replace(part(4, "none", Decision.ACCEPT), frame=None)])
    admin("feedback", "cam4:boot:4", "--defect", "--image", installation.bad / "201.png")
    admin("feedback", "cam4:boot:1", "--good")
    answer = admin("propose", "--line", 4, "--since", "5200w", "--dry-run", "--allow-misses")
    assert "defective, as a person said" in answer.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to propose for line 4"),
        (("--key", "cam4:boot:2"), "cam4:boot:2 is not marked good for line-4"),
    ],
)
def test_nothing_to_propose_is_said_with_what_would_do(
    admin: Admin, line: None, arguments: tuple[str, ...], told: str
) -> None:
    admin("feedback", "cam4:boot:3", "--good")  # accepted: no false reject
    answer = admin("propose", "--line", 4, *arguments)
    assert answer.code == 1
    assert told in answer.err


def test_a_trial_is_counted_by_who_the_parts_speak_for() -> None:
    accept, reject = Decision.ACCEPT, Decision.REJECT
    rows = summary(
        [
            Outcome(key="a", group=KNOWN_GOOD, before=reject, after=accept),
            Outcome(key="b", group=KNOWN_GOOD, before=reject, after=reject),
            Outcome(key="c", group=PASSED, before=accept, after=Decision.REVIEW),
        ]
    )
    assert rows == [
        {"group": KNOWN_GOOD, "parts": 2, "stopped_before": 2, "stopped_after": 1, "changes": ["a"]},
        {"group": PASSED, "parts": 1, "stopped_before": 0, "stopped_after": 1, "changes": ["c"]},
    ]
