"""`lines`, `products`, `banks`, `threshold`, `verdicts`: listed as SQL has them, changed with an audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import core
from core.decide import Decision, Thresholds, ThresholdState
from daemon.admin.banks import previous
from daemon.admin.threshold import moved
from daemon.bank_store import publish
from daemon.records import LineAssignment, Records
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import a_change, a_verdict, an_uninspected
from tests.pictures import samples

Admin = Callable[..., Answer]


@pytest.fixture(scope="module")
def two_banks(tiny_scorer: core.Scorer) -> list[core.ReferenceBank]:
    """Of the products silk and wool."""
    parts = {"silk": samples(3), "wool": samples(3, first=50)}
    return [core.enrol(tiny_scorer, good, product=product).bank for product, good in parts.items()]


@pytest.fixture
def enrolled(
    installation: Installation, records: Records, two_banks: list[core.ReferenceBank]
) -> list[LineAssignment]:
    """Line 4 enrolled twice: first silk, then wool."""
    return [
        publish(records, None, installation.state, bank, line=4, who="t", why=None, action="enroll")
        for bank in two_banks
    ]


def test_lines_lists_what_settings_and_sql_know(admin: Admin, enrolled: list[LineAssignment]) -> None:
    rows = admin("lines", "--json").json
    assert [(row["line"], row["state"], row["product"]) for row in rows] == [
        (4, "enrolled", "wool"),
        (5, "not enrolled", "linen"),
    ]
    assert rows[0]["bank"] == enrolled[1].bank_sha256
    assert rows[0]["cameras"] == ["cam4"]
    table = admin("lines").out
    assert "looms" in table
    assert enrolled[1].bank_sha256[:12] in table


def test_a_line_that_left_the_settings_is_still_listed(
    admin: Admin, installation: Installation, enrolled: list[LineAssignment]
) -> None:
    text = installation.config.read_text()
    installation.config.write_text(text.replace("id = 4", "id = 6").replace("line = 4", "line = 6"))
    states = {row["line"]: row["state"] for row in admin("lines", "--json").json}
    assert states == {4: "not in the settings", 5: "not enrolled", 6: "not enrolled"}


def test_assigning_puts_the_newest_bank_of_a_product_back(
    admin: Admin, records: Records, enrolled: list[LineAssignment]
) -> None:
    answer = admin("lines", "assign", "--line", 4, "--product", "silk", "--why", "batch 12", "--json")
    assert answer.json["bank"] == enrolled[0].bank_sha256
    assignment = records.line(4)
    assert assignment is not None
    assert (assignment.product, assignment.revision) == ("silk", 3)
    assert (records.changes(4)[0].action, records.changes(4)[0].why) == ("assign", "batch 12")


def test_assigning_a_product_that_was_never_enrolled_there_says_which_were(
    admin: Admin, enrolled: list[LineAssignment]
) -> None:
    answer = admin("lines", "assign", "--line", 4, "--product", "hemp")
    assert answer.code == 1
    assert "silk, wool" in answer.err


def test_rolling_back_restores_bank_and_thresholds_and_twice_undoes_it(
    admin: Admin, records: Records, enrolled: list[LineAssignment]
) -> None:
    admin("lines", "assign", "--line", 4, "--product", "silk")
    admin("threshold", "--line", 4, "--reject", 12.5)
    admin("lines", "assign", "--line", 4, "--product", "wool")
    back = admin("banks", "rollback", "--line", 4, "--why", "it drifts", "--json").json
    assert (back["bank"], back["reject"], back["threshold_state"]) == (enrolled[0].bank_sha256, 12.5, "manual")
    again = admin("banks", "rollback", "--line", 4, "--json").json
    assert again["bank"] == enrolled[1].bank_sha256
    assert [change.action for change in records.changes(4)][:2] == ["rollback", "rollback"]


def test_rolling_back_to_a_bank_whose_file_is_damaged_changes_nothing(
    admin: Admin, installation: Installation, records: Records, enrolled: list[LineAssignment]
) -> None:
    (installation.state / enrolled[0].bank_path).write_bytes(b"rotten")
    standing = records.line(4)
    answer = admin("banks", "rollback", "--line", 4)
    assert answer.code == 1
    assert "is damaged" in answer.err
    assert records.line(4) == standing


def test_rolling_back_a_line_that_had_one_bank_only_is_refused(
    admin: Admin, installation: Installation, records: Records, two_banks: list[core.ReferenceBank]
) -> None:
    publish(records, None, installation.state, two_banks[0], line=4, who="t", why=None, action="enroll")
    answer = admin("banks", "rollback", "--line", 4)
    assert answer.code == 1
    assert "never had another bank" in answer.err


def test_the_previous_bank_is_the_newest_that_differs() -> None:
    changes = [a_change("b"), a_change("b", action="threshold"), a_change("a"), a_change("c")]
    assert previous(changes, "b") == changes[2]
    assert previous(changes[:2], "b") is None


def test_banks_and_products_say_which_lines_they_serve(admin: Admin, enrolled: list[LineAssignment]) -> None:
    banks = {row["product"]: row for row in admin("banks", "--json").json}
    assert banks["wool"]["in_charge_of"] == [4]
    assert banks["silk"]["in_charge_of"] == []
    assert [row["product"] for row in admin("banks", "--product", "silk", "--json").json] == ["silk"]
    assert admin("banks", "--line", 5, "--json").json == []
    products = {row["product"]: row for row in admin("products", "--json").json}
    assert (products["wool"]["lines"], products["silk"]["lines"]) == ([4], [])
    assert "wool" in admin("products").out


def test_the_history_of_a_line_has_every_change(admin: Admin, enrolled: list[LineAssignment]) -> None:
    rows = admin("lines", "history", "--line", 4, "--json").json
    assert [(row["revision"], row["action"], row["product"]) for row in rows] == [
        (2, "enroll", "wool"),
        (1, "enroll", "silk"),
    ]


def test_a_moved_threshold_is_manual_audited_and_shown(
    admin: Admin, records: Records, enrolled: list[LineAssignment]
) -> None:
    answer = admin("threshold", "--line", 4, "--reject", 9, "--review", 5, "--why", "too many", "--json")
    assert (answer.json["reject"], answer.json["review"], answer.json["threshold_state"]) == (9, 5, "manual")
    assert admin("threshold", "--line", 4, "--json").json["reject"] == 9
    change = records.changes(4)[0]
    assert (change.action, change.why, change.thresholds.state) == ("threshold", "too many", ThresholdState.MANUAL)


@pytest.mark.parametrize("options", [("--review", 99), ("--reject", "nan"), ("--reject", "inf")])
def test_thresholds_that_cross_or_are_no_numbers_change_nothing(
    admin: Admin, records: Records, enrolled: list[LineAssignment], options: tuple[object, ...]
) -> None:
    answer = admin("threshold", "--line", 4, *options)
    assert answer.code == 1
    assert len(records.changes(4)) == 2


def test_moving_reject_alone_keeps_a_review_band_and_makes_none() -> None:
    plain = Thresholds(reject=3.0, review=3.0, state=ThresholdState.PROVISIONAL)
    band = Thresholds(reject=3.0, review=2.0, state=ThresholdState.MANUAL)
    assert moved(plain, reject=5.0, review=None).review == 5.0
    assert moved(band, reject=5.0, review=None).review == 2.0
    assert moved(plain, reject=None, review=1.0) == Thresholds(reject=3.0, review=1.0, state=ThresholdState.MANUAL)


def test_verdicts_are_printed_as_the_contract_words_them(admin: Admin, records: Records) -> None:
    now = datetime.now(UTC)
    verdicts = [a_verdict("new", at=now), a_verdict("old", at=now - timedelta(hours=9))]
    records.insert_inspections([*verdicts, an_uninspected("ancient")])
    rows = admin("verdicts", "--since", "8h", "--json").json
    assert rows == [verdicts[0].public()]
    uninspected = admin("verdicts", "--decision", Decision.UNINSPECTED.value, "--line", 4, "--json").json
    assert [(row["key"], row["reason"], row["score"]) for row in uninspected] == [("ancient", "deadline", None)]
    assert len(admin("verdicts", "--limit", 1, "--json").json) == 1
    assert "reject" in admin("verdicts").out


def test_lists_that_are_empty_are_an_empty_list_for_machines_and_a_sentence_for_people(admin: Admin) -> None:
    for command in ("banks", "products", "verdicts"):
        assert admin(command, "--json").json == []
        spoken = admin(command)
        assert (spoken.code, spoken.out) == (0, "")
        assert spoken.err.startswith("No ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("verdicts", "--since", "8 hours"),
        ("verdicts", "--decision", "maybe"),
        ("verdicts", "--limit", 0),
        ("lines", "assign", "--line", 4),
        ("threshold", "--reject", 3),
        ("feedback", "--good"),
        ("banks", "--line", "four"),
    ],
)
def test_wrong_usage_ends_with_2(admin: Admin, arguments: tuple[object, ...]) -> None:
    assert admin(*arguments).code == 2
