"""Records on real databases: what goes in comes out, once, and lines change only from where they were seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.decide import Decision, Thresholds, ThresholdState
from daemon import schema
from daemon.flow import Verdict
from daemon.record_rows import verdict_columns
from daemon.records import (
    BankRecord,
    LineChange,
    ProductRecord,
    Records,
    RecordsUnavailable,
    RevisionConflict,
    insert_absent_anywhere,
)
from daemon.settings import ConfigurationError
from daemon.verdict_queries import VerdictFilter, page

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
PROVISIONAL = Thresholds(reject=3.5, review=3.5, state=ThresholdState.PROVISIONAL)
SHA = "a" * 64


def a_verdict(key: str, *, line: int = 4, decision: Decision = Decision.REJECT, at: datetime = NOW) -> Verdict:
    return Verdict(
        key=key,
        line=line,
        camera="cam4",
        part="A1",
        seq=7,
        decision=decision,
        reason=None,
        score=4.25,
        threshold=3.5,
        threshold_state=ThresholdState.CALIBRATED,
        p_value=0.01,
        product="nuts",
        bank_sha256=SHA,
        model_id="tiny",
        adapter_sha256=None,
        software_version="0.1.0",
        batch_size=2,
        queue_ms=1.5,
        infer_ms=20.0,
        total_ms=25.0,
        host="here",
        heatmap="heatmaps/4/2026-03-01/x.png",
        no_heatmap=None,
        frame_sha256="f" * 64,
        captured_at=NOW - timedelta(seconds=1),
        received_at=NOW,
        decided_at=at,
    )


def an_uninspected(key: str) -> Verdict:
    return replace(
        a_verdict(key),
        decision=Decision.UNINSPECTED,
        reason="deadline",
        part=None,
        seq=None,
        score=None,
        threshold=None,
        threshold_state=None,
        p_value=None,
        product=None,
        bank_sha256=None,
        heatmap=None,
        no_heatmap="uninspected",
        captured_at=None,
    )


def a_bank(sha256: str = SHA, *, product: str = "nuts", line: int = 4, built_at: datetime = NOW) -> BankRecord:
    return BankRecord(
        sha256=sha256,
        product=product,
        line=line,
        path=f"banks/{product}/{sha256}.safetensors",
        size_bytes=1000,
        encoder_id="tiny",
        shots=8,
        built_at=built_at,
        thresholds=PROVISIONAL,
        header="{}",
    )


def a_change(
    sha256: str = SHA, *, line: int = 4, thresholds: Thresholds = PROVISIONAL, action: str = "enroll"
) -> LineChange:
    return LineChange(
        line=line,
        product="nuts",
        bank_sha256=sha256,
        thresholds=thresholds,
        who="tester",
        action=action,
        why="a test",
        at=NOW,
    )


def kept(records: Records) -> list[Verdict]:
    return page(records.database, VerdictFilter(), limit=100)


@pytest.fixture
def records(records_url: str) -> Iterator[Records]:
    records = Records(records_url)
    records.upgrade()
    yield records
    records.close()


def test_a_verdict_comes_back_as_it_went_in(records: Records) -> None:
    verdicts = [a_verdict("full"), an_uninspected("empty")]
    assert records.insert_inspections(verdicts) == 2
    assert {verdict.key: verdict for verdict in kept(records)} == {v.key: v for v in verdicts}


def test_inserting_nothing_asks_nobody(tmp_path: Path) -> None:
    assert Records(f"sqlite:///{tmp_path / 'missing.db'}").insert_inspections([]) == 0


def test_a_key_that_is_there_already_keeps_its_first_verdict(records: Records) -> None:
    records.insert_inspections([a_verdict("one"), a_verdict("two")])
    again = [replace(a_verdict("two"), decision=Decision.ACCEPT), a_verdict("three")]
    assert records.insert_inspections(again) == 1
    assert records.insert_inspections(again) == 0
    assert {verdict.key: verdict.decision for verdict in kept(records)}["two"] is Decision.REJECT


def test_a_dialect_without_on_conflict_inserts_the_same_rows(records: Records) -> None:
    records.insert_inspections([a_verdict("one")])
    rows = [verdict_columns(a_verdict(key)) for key in ("one", "two")]
    with records.database.begin() as connection:
        assert insert_absent_anywhere(connection, schema.inspections, "key", rows) == 1
        assert insert_absent_anywhere(connection, schema.inspections, "key", rows) == 0
    assert sorted(verdict.key for verdict in kept(records)) == ["one", "two"]


def test_verdicts_are_filtered_newest_first_and_limited(records: Records) -> None:
    hours = [NOW - timedelta(hours=hour) for hour in range(4)]
    records.insert_inspections([a_verdict(f"h{hour}", at=at) for hour, at in enumerate(hours)])
    records.insert_inspections([a_verdict("other", line=5), a_verdict("good", decision=Decision.ACCEPT)])
    wanted = VerdictFilter(line=4, decision=Decision.REJECT, since=hours[2])
    found = page(records.database, wanted, limit=2)
    assert [verdict.key for verdict in found] == ["h0", "h1"]


def test_an_assignment_comes_back_with_its_bank_product_and_audit(records: Records) -> None:
    product = ProductRecord(name="nuts", object_name="metal nut", created_at=NOW)
    assignment = records.assign(a_change(), expected_revision=None, bank=a_bank(), product=product)
    assert assignment.revision == 1
    assert assignment.bank_path == f"banks/nuts/{SHA}.safetensors"
    assert assignment.updated_at == NOW
    assert records.line(4) == assignment
    assert records.lines() == [assignment]
    assert records.line(5) is None
    assert records.bank(SHA) == a_bank()
    assert records.products() == [product]
    assert records.changes(4) == [replace(a_change(), revision=1)]


def test_a_change_from_a_revision_that_is_no_longer_so_writes_nothing(records: Records) -> None:
    records.assign(a_change(), expected_revision=None, bank=a_bank())
    records.assign(a_change(action="threshold"), expected_revision=1)
    for stale in (None, 1, 3):
        with pytest.raises(RevisionConflict, match="line 4 was changed in the meantime"):
            records.assign(a_change("b" * 64), expected_revision=stale, bank=a_bank("b" * 64))
    assert records.bank("b" * 64) is None
    assert [change.revision for change in records.changes(4)] == [2, 1]


def test_of_many_writers_with_the_same_view_exactly_one_wins(records: Records) -> None:
    records.assign(a_change(), expected_revision=None, bank=a_bank())
    start, outcomes = threading.Barrier(6), []

    def write() -> None:
        start.wait()
        try:
            outcomes.append(records.assign(a_change(), expected_revision=1).revision)
        except RevisionConflict:
            outcomes.append(0)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [0, 0, 0, 0, 0, 2]


def test_the_audit_is_counted_by_line_and_action(records: Records) -> None:
    assert records.change_counts() == {}
    enrolled = records.assign(a_change(), expected_revision=None, bank=a_bank())
    records.assign(a_change(action="threshold"), expected_revision=enrolled.revision)
    records.assign(a_change(action="threshold"), expected_revision=enrolled.revision + 1)
    assert records.change_counts() == {(4, "enroll"): 1, (4, "threshold"): 2}


def test_a_line_cannot_be_given_a_bank_that_nobody_recorded(records: Records) -> None:
    with pytest.raises(ValueError, match="is recorded"):
        records.assign(a_change(), expected_revision=None)
    assert records.lines() == []


def test_a_product_keeps_its_object_until_another_is_named(records: Records) -> None:
    named = ProductRecord(name="nuts", object_name="metal nut", created_at=NOW)
    for revision, (said, kept) in enumerate([("metal nut", "metal nut"), (None, "metal nut"), ("nut", "nut")]):
        records.assign(
            a_change(),
            expected_revision=revision or None,
            bank=a_bank(),
            product=replace(named, object_name=said),
        )
        assert records.products()[0].object_name == kept


def test_banks_are_listed_newest_first_by_product_and_line(records: Records) -> None:
    old, new = a_bank("1" * 64), a_bank("2" * 64, built_at=NOW + timedelta(days=1))
    other = a_bank("3" * 64, product="bolts", line=5)
    assert [records.add_bank(bank) for bank in (old, new, other, old)] == [True, True, True, False]
    assert records.banks(product="nuts") == [new, old]
    assert records.banks(line=5) == [other]
    assert len(records.banks()) == 3


def test_a_missing_database_is_an_answer_and_no_empty_file(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path / 'records.db'}")
    with pytest.raises(RecordsUnavailable, match="cannot be used"):
        records.lines()
    assert list(tmp_path.iterdir()) == []


def test_a_locked_database_is_unavailable_and_not_a_crash(
    records: Records, records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.database.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("daemon.database.LOCK_TIMEOUT_S", 0.05)
    impatient = Records(records_url)
    with records.database.begin() as holder:
        if records.database.file is None:
            holder.exec_driver_sql("LOCK TABLE inspections")
        else:
            holder.exec_driver_sql("INSERT INTO products VALUES ('held', NULL, '2026-01-01')")
        with pytest.raises(RecordsUnavailable, match="lock"):
            impatient.insert_inspections([a_verdict("late")])
    assert impatient.insert_inspections([a_verdict("late")]) == 1
    impatient.close()


@pytest.mark.parametrize(
    "url", ["no url", "nosuchdb://host/x", "sqlite://", "sqlite:///:memory:", "mssql://u:pw@h/d"]
)
def test_a_url_that_cannot_work_is_a_configuration_error_without_the_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"records\.url") as caught:
        Records(url)
    assert "pw" not in str(caught.value)
