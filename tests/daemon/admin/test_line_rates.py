"""What a person chose for a line goes over to its next bank as a rate, and never as a score."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.decide import Thresholds, ThresholdState
from daemon.admin.line_rates import Rates, agreed, merged
from daemon.admin.session import Refused
from daemon.records import Records
from tests.daemon.admin.conftest import Answer, Installation

Admin = Callable[..., Answer]


@pytest.fixture
def calibrated(admin: Admin, installation: Installation) -> None:
    """Line 4 on 8 references and 12 good samples, moved by rate since."""
    done = admin("enroll", "--line", 4, installation.good, "--calibrate", installation.more)
    assert done.code == 0, done.err
    assert admin("threshold", "--line", 4, "--max-false-rejects", 0.1, "--max-reviews", 0.2).code == 0


def state_of(records: Records, line: int = 4) -> tuple[ThresholdState, float | None, float | None]:
    found = records.line(line)
    assert found is not None
    return found.thresholds.state, found.thresholds.max_false_rejects, found.thresholds.max_reviews


@pytest.mark.usefixtures("calibrated")
def test_rates_go_over_to_the_next_bank_that_can_carry_them(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, *some(installation, 0, 6), "--calibrate",
                   installation.more, "--json")  # fmt: skip
    assert "kept: at most 10.00% of good parts rejected, 20.00% reviewed or rejected" in answer.err
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.1, 0.2)
    assert answer.json["review_above"] < answer.json["reject_above"]
    change = records.changes(4)[0]
    assert (change.action, change.thresholds.max_false_rejects, change.thresholds.max_reviews) == (
        "enroll",
        0.1,
        0.2,
    )


@pytest.mark.usefixtures("calibrated")
def test_rates_that_the_next_bank_cannot_carry_wait_until_it_is_calibrated(
    admin: Admin, installation: Installation, records: Records
) -> None:
    answer = admin("enroll", "--line", 4, *some(installation, 0, 6))
    assert answer.code == 0, answer.err
    assert "A promise of 10 % takes 9 more good parts outside the bank: aprilgan-admin calibrate" in answer.err
    assert state_of(records) == (ThresholdState.PROVISIONAL, 0.1, 0.2)
    assert "the 10.00% chosen takes 9 more good samples" in admin("threshold", "--line", 4).out
    assert admin("calibrate", "--line", 4, *some(installation, 6, 8)).code == 0
    assert state_of(records) == (ThresholdState.PROVISIONAL, 0.1, 0.2)
    answer = admin("calibrate", "--line", 4, installation.more)
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.1, 0.2)
    assert "A promise of" not in answer.err


@pytest.mark.usefixtures("calibrated")
@pytest.mark.parametrize("command", ["add-reference", "remove-reference"])
def test_rates_that_were_chosen_since_survive_a_change_of_references(
    admin: Admin, installation: Installation, records: Records, command: str
) -> None:
    what = installation.more / "100.png" if command == "add-reference" else 8
    answer = admin("banks", command, "--line", 4, what)
    assert answer.code == 0, answer.err
    assert "were set by hand" not in answer.err
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.1, 0.2)


@pytest.mark.usefixtures("calibrated")
def test_a_threshold_set_by_hand_does_not_go_over_and_that_is_said_with_what_it_stood_for(
    admin: Admin, installation: Installation, records: Records
) -> None:
    assert admin("threshold", "--line", 4, "--reject", 1000).code == 0
    answer = admin("banks", "remove-reference", "--line", 4, 8)
    assert "were set by hand (reject above 1000" in answer.err
    assert "stood for about 7.69% of good parts rejected" in answer.err
    assert "--max-false-rejects P" in answer.err
    found = records.line(4)
    assert found is not None
    assert found.thresholds.reject < 1000
    assert state_of(records) == (ThresholdState.CALIBRATED, None, 0.2)
    assert admin("threshold", "--line", 4, "--reject", 1000, "--review", 1000).code == 0
    assert "they end with this calibration" in admin("calibrate", "--line", 4, installation.more).err
    assert state_of(records) == (ThresholdState.CALIBRATED, None, None)


@pytest.mark.usefixtures("calibrated")
def test_a_named_rate_wins_and_is_refused_where_the_samples_cannot_carry_it(
    admin: Admin, installation: Installation, records: Records
) -> None:
    before = records.line(4)
    refused = admin("enroll", "--line", 4, installation.good, "--max-false-rejects", 0.1)
    assert (refused.code, "takes 9 good samples outside the bank" in refused.err) == (1, True)
    crossed = admin("calibrate", "--line", 4, installation.more, "--max-false-rejects", 0.5)
    assert (crossed.code, "name both" in crossed.err) == (1, True)
    stays = admin("threshold", "--line", 4, "--max-reviews", 0.095)
    assert (stays.code, "cannot be below that of rejects: got 0.095 < 0.1" in stays.err) == (1, True)
    assert records.line(4) == before
    options = ("--max-false-rejects", 0.3, "--max-reviews", 0.4)
    assert admin("calibrate", "--line", 4, installation.more, *options).code == 0
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.3, 0.4)


def test_enrolling_takes_a_review_band_by_rate(admin: Admin, installation: Installation, records: Records) -> None:
    options = ("--max-false-rejects", 0.1, "--max-reviews", 0.3)
    answer = admin("enroll", "--line", 4, installation.good, "--calibrate", installation.more, *options, "--json")
    assert answer.json["review_above"] < answer.json["reject_above"]
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.1, 0.3)


@pytest.mark.usefixtures("calibrated")
def test_another_line_of_the_product_begins_with_its_rates_and_another_product_with_none(
    admin: Admin, installation: Installation, records: Records
) -> None:
    assert admin("enroll", "--line", 5, installation.good, "--product", "line-4").code == 0
    assert state_of(records, 5) == (ThresholdState.PROVISIONAL, 0.1, 0.2)
    assert admin("enroll", "--line", 4, installation.good, "--product", "silk").code == 0
    assert state_of(records) == (ThresholdState.PROVISIONAL, None, None)


@pytest.mark.usefixtures("calibrated")
def test_a_product_that_comes_back_has_the_thresholds_that_it_had(
    admin: Admin, installation: Installation, records: Records
) -> None:
    before = records.line(4)
    assert before is not None
    assert admin("enroll", "--line", 4, installation.good, "--product", "silk").code == 0
    assert admin("lines", "assign", "--line", 4, "--product", "line-4").code == 0
    assert state_of(records) == (ThresholdState.CALIBRATED, 0.1, 0.2)
    history = admin("lines", "history", "--line", 4, "--json").json
    assert [row["chosen"] for row in history] == ["reject 10 %, review 20 %", "", "reject 10 %, review 20 %", ""]
    answer = admin("enroll", "--line", 4, installation.good, "--product", "silk", "--calibrate", installation.more)
    assert "kept" not in answer.err


def test_a_rate_that_is_named_takes_the_place_of_the_one_that_stays() -> None:
    stays = Rates(max_false_rejects=0.05, max_reviews=0.15)
    assert merged(stays, max_false_rejects=None, max_reviews=None) == stays
    assert merged(stays, max_false_rejects=0.01, max_reviews=None) == Rates(
        max_false_rejects=0.01, max_reviews=0.15, firm=True
    )
    with pytest.raises(Refused, match="name both"):
        merged(stays, max_false_rejects=None, max_reviews=0.02)


def test_lines_of_a_product_that_differ_agree_on_nothing() -> None:
    five = Thresholds(reject=1.0, review=1.0, state=ThresholdState.CALIBRATED, max_false_rejects=0.05)
    one = Thresholds(reject=2.0, review=2.0, state=ThresholdState.CALIBRATED, max_false_rejects=0.01)
    assert agreed([five, five]) == Rates(max_false_rejects=0.05)
    assert agreed([five, one]) == agreed([]) == Rates()


def some(installation: Installation, first: int, end: int) -> list[object]:
    """Good pictures by number."""
    return [installation.good / f"{number:03}.png" for number in range(first, end)]
