"""`threshold`: what the lines promise, and thresholds moved by rate and by value, for a line or a product."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import core
from core.calibration import rate_above
from core.decide import Thresholds, ThresholdState
from core.errors import CalibrationError
from daemon.admin.threshold import placed
from daemon.bank_store import publish
from daemon.records import LineAssignment, Records, RevisionConflict
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import a_change
from tests.pictures import samples

Admin = Callable[..., Answer]

GOOD = tuple(float(number) for number in range(99))


@pytest.fixture(scope="module")
def banks(tiny_scorer: core.Scorer) -> dict[str, core.ReferenceBank]:
    """The same references, provisional and calibrated on 20 good samples."""
    provisional = core.enrol(tiny_scorer, samples(4), product="wool").bank
    calibrated = core.recalibrate(tiny_scorer, provisional, samples(20, first=50)).bank
    return {"provisional": provisional, "calibrated": calibrated}


@pytest.fixture
def two_lines(
    installation: Installation, records: Records, banks: dict[str, core.ReferenceBank]
) -> list[LineAssignment]:
    """Lines 4 and 5 make wool, both calibrated."""
    return [
        publish(
            records,
            None,
            installation.state,
            banks["calibrated"],
            line=line,
            who="t",
            why=None,
            action="calibrate",
        )
        for line in (4, 5)
    ]


@pytest.fixture
def provisional_line(
    installation: Installation, records: Records, banks: dict[str, core.ReferenceBank]
) -> LineAssignment:
    bank = banks["provisional"]
    return publish(records, None, installation.state, bank, line=4, who="t", why=None, action="enroll")


def test_the_state_samples_and_promise_of_every_line_are_shown(
    admin: Admin, two_lines: list[LineAssignment]
) -> None:
    rows = admin("threshold", "--json").json
    assert [(row["line"], row["threshold_state"], row["samples"]) for row in rows] == [
        (4, "calibrated", 20),
        (5, "calibrated", 20),
    ]
    assert rows[0]["expected_false_rejects"] == pytest.approx(1 / 21)
    assert rows[0]["expected_false_rejects"] < rows[0]["upper_false_rejects"]
    assert "at most 4.76% of good parts rejected on average" in admin("threshold", "--line", 4).out


def test_a_provisional_threshold_says_that_it_promises_nothing(
    admin: Admin, provisional_line: LineAssignment
) -> None:
    row = admin("threshold", "--line", 4, "--json").json
    assert (row["samples"], row["expected_false_rejects"], row["upper_false_rejects"]) == (0, 0.2, None)
    assert row["promise"].startswith("provisional: about 20.00% of good parts rejected; no promise")


def test_bands_are_set_by_rate_and_keep_the_promise_and_the_audit(
    admin: Admin, records: Records, two_lines: list[LineAssignment]
) -> None:
    answer = admin(
        "threshold",
        "--line",
        4,
        "--max-false-rejects",
        0.05,
        "--max-reviews",
        0.2,
        "--why",
        "fewer rejects",
        "--json",
    )
    row = answer.json
    assert row["threshold_state"] == "calibrated"
    assert row["review"] < row["reject"]
    assert (row["expected_false_rejects"], row["expected_reviews"]) == (
        pytest.approx(1 / 21),
        pytest.approx(4 / 21),
    )
    change = records.changes(4)[0]
    assert (change.action, change.why, change.thresholds.review) == ("threshold", "fewer rejects", row["review"])
    assert records.line(5) == two_lines[1]


def test_one_command_changes_every_line_of_a_product(admin: Admin, two_lines: list[LineAssignment]) -> None:
    rows = admin("threshold", "--product", "wool", "--max-false-rejects", 0.1, "--json").json
    assert [(row["line"], row["revision"]) for row in rows] == [(4, 2), (5, 2)]
    assert [row["expected_false_rejects"] for row in rows] == [pytest.approx(2 / 21)] * 2


def test_a_change_of_several_lines_happens_whole_or_not_at_all(
    records: Records, two_lines: list[LineAssignment]
) -> None:
    changes = [a_change(each.bank_sha256, line=each.line, action="threshold") for each in two_lines]
    with pytest.raises(RevisionConflict):
        records.reassign([(changes[0], 1), (changes[1], 7)])
    assert records.lines() == two_lines
    assert [len(records.changes(line)) for line in (4, 5)] == [1, 1]


def test_a_rate_that_the_samples_cannot_carry_is_refused_with_the_number_it_takes(
    admin: Admin, records: Records, two_lines: list[LineAssignment]
) -> None:
    answer = admin("threshold", "--product", "wool", "--max-false-rejects", 0.01)
    assert answer.code == 1
    assert "takes 99 good samples" in answer.err
    assert "got 20" in answer.err
    assert "calibrate --line 4" in answer.err
    assert records.lines() == two_lines


def test_a_provisional_line_cannot_be_set_by_rate_and_stays_provisional(
    admin: Admin, records: Records, provisional_line: LineAssignment
) -> None:
    answer = admin("threshold", "--line", 4, "--max-reviews", 0.05)
    assert answer.code == 1
    assert "takes 19 good samples outside the bank, got 0" in answer.err
    assert "stays provisional" in answer.err
    assert records.line(4) == provisional_line


def test_a_dry_run_shows_the_new_threshold_and_changes_nothing(
    admin: Admin, records: Records, two_lines: list[LineAssignment]
) -> None:
    answer = admin("threshold", "--line", 4, "--max-false-rejects", 0.1, "--dry-run", "--json")
    assert answer.json["reject"] < two_lines[0].thresholds.reject
    assert records.lines() == two_lines


def test_a_threshold_set_by_value_is_described_and_promises_nothing(
    admin: Admin, two_lines: list[LineAssignment]
) -> None:
    row = admin("threshold", "--line", 4, "--reject", 1000, "--json").json
    assert row["threshold_state"] == "manual"
    assert row["promise"].startswith("manual: no promise; by its 20 samples about 4.76%")


@pytest.mark.parametrize(
    "options",
    [
        ("--line", 4, "--reject", 3, "--max-reviews", 0.1),
        ("--reject", 3),
        ("--max-false-rejects", 0.1),
    ],
)
def test_rates_and_values_together_or_no_line_are_wrong_usage(
    admin: Admin, two_lines: list[LineAssignment], options: tuple[object, ...]
) -> None:
    assert admin("threshold", *options).code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--line", 4, "--product", "silk"), "makes 'wool'"),
        (("--product", "silk", "--reject", 3), "in charge of a line: wool"),
        (("--line", 4, "--max-false-rejects", 0.2, "--max-reviews", 0.1), "cannot be below that of rejects"),
        (("--line", 4, "--max-false-rejects", 1.5), "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    admin: Admin, two_lines: list[LineAssignment], options: tuple[object, ...], said: str
) -> None:
    answer = admin("threshold", *options)
    assert answer.code == 1
    assert said in answer.err


def test_one_rate_alone_leaves_the_other_threshold_where_it_is() -> None:
    plain = Thresholds(reject=98.0, review=98.0, state=ThresholdState.PROVISIONAL)
    both = placed(plain, GOOD, max_false_rejects=0.05, max_reviews=None)
    assert (both.reject, both.review, both.state) == (94.0, 94.0, ThresholdState.CALIBRATED)
    banded = placed(both, GOOD, max_false_rejects=None, max_reviews=0.1)
    assert (banded.reject, banded.review, banded.state) == (94.0, 89.0, ThresholdState.CALIBRATED)
    wider = placed(banded, GOOD, max_false_rejects=0.01, max_reviews=None)
    assert (wider.reject, wider.review) == (98.0, 89.0)
    with pytest.raises(CalibrationError, match="must not lie above"):
        placed(banded, GOOD, max_false_rejects=0.2, max_reviews=None)


def test_a_rate_beside_a_value_that_a_person_set_is_no_promise() -> None:
    by_hand = Thresholds(reject=97.0, review=50.0, state=ThresholdState.MANUAL)
    assert placed(by_hand, GOOD, max_false_rejects=0.05, max_reviews=None).state is ThresholdState.MANUAL
    assert placed(by_hand, GOOD, max_false_rejects=0.05, max_reviews=0.1).state is ThresholdState.CALIBRATED


def test_what_a_threshold_stands_for_counts_the_samples_above_it() -> None:
    assert rate_above(98.0, GOOD).expected == 1 / 100
    assert rate_above(1e9, GOOD).expected == 1 / 100
    assert rate_above(93.5, GOOD).expected == 6 / 100
    assert rate_above(-1.0, GOOD) == rate_above(-5.0, GOOD)
    assert rate_above(-1.0, GOOD).upper == 1.0
