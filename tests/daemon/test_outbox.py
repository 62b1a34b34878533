"""The journal: what was committed is there after a kill, in order, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decide import Decision, ThresholdState
from daemon.flow import Frame, Identity, UninspectedReason, Verdict
from daemon.outbox import Outbox, OutboxInUse, OutboxReader, OutboxUnavailable
from daemon.verdicts import Provenance, from_text, to_text, uninspected

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def frame(name: str, *, after_s: float = 0) -> Frame:
    return Frame(
        key=name,
        identity=Identity(camera="cam1", line=4, part="A\u00e4", seq=1, boot="b1", captured_at=AT),
        sha256="ab" * 32,
        received_at=AT + timedelta(seconds=after_s),
        received_ns=5,
        deadline_ns=9,
    )


def verdict(name: str) -> Verdict:
    return uninspected(
        frame(name),
        UninspectedReason.DEADLINE,
        at=AT,
        total_ms=1.5,
        by=Provenance(software_version="0", host="test"),
    )


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db")
    yield journal
    journal.close()


def keys(reader: OutboxReader, after: int = 0, limit: int = 100) -> list[str]:
    return [stored.verdict.key for stored in reader.after(after, limit=limit)]


def test_pending_frames_come_back_after_a_kill_as_they_were(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    first.commit(pending=[frame("b", after_s=1), frame("a")])
    first.close()
    second = Outbox(tmp_path / "outbox.db")
    left_behind = second.pending()
    second.close()
    assert [left.key for left in left_behind] == ["a", "b"]
    assert left_behind[0].identity == frame("a").identity
    assert left_behind[0].received_at == AT


def test_a_verdict_takes_its_frame_out_of_pending(outbox: Outbox) -> None:
    outbox.commit(pending=[frame("a"), frame("b")])
    outbox.commit(verdicts=[verdict("a")])
    assert [left.key for left in outbox.pending()] == ["b"]
    assert outbox.find("a") == verdict("a")
    assert outbox.find("b") is None


def test_a_frame_that_came_and_was_decided_in_one_turn_is_a_verdict_alone(outbox: Outbox) -> None:
    outbox.commit(pending=[frame("a")], verdicts=[verdict("a")])
    assert outbox.pending() == []
    assert outbox.unrecorded == 1


def test_the_first_verdict_of_a_key_stands(outbox: Outbox) -> None:
    outbox.commit(verdicts=[verdict("a")])
    outbox.commit(verdicts=[replace(verdict("a"), reason="restart"), verdict("b")])
    first = outbox.find("a")
    assert first is not None
    assert first.reason == "deadline"


def test_verdicts_are_read_in_order_of_commit_whatever_the_order_of_receipt(
    outbox: Outbox, tmp_path: Path
) -> None:
    outbox.commit(pending=[frame("a"), frame("b"), frame("c")])
    outbox.commit(verdicts=[verdict("c")])
    outbox.commit(verdicts=[verdict("a"), verdict("b")])
    reader = OutboxReader(tmp_path / "outbox.db")
    assert keys(reader) == ["c", "a", "b"]
    assert keys(reader, after=1, limit=1) == ["a"]
    reader.close()


def test_the_mark_never_goes_back_nor_beyond_what_is_there(outbox: Outbox, tmp_path: Path) -> None:
    outbox.commit(verdicts=[verdict("a"), verdict("b")])
    outbox.commit(recorded_up_to=1)
    assert (outbox.recorded_up_to, outbox.unrecorded) == (1, 1)
    outbox.commit(recorded_up_to=0)
    assert outbox.recorded_up_to == 1
    outbox.commit(recorded_up_to=99)
    assert outbox.recorded_up_to == 2
    reader = OutboxReader(tmp_path / "outbox.db")
    assert reader.recorded_up_to() == 2
    reader.close()


def test_only_recorded_verdicts_are_pruned_and_positions_are_never_used_again(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db", keep_rows=1)
    first.commit(verdicts=[verdict("a"), verdict("b"), verdict("c")])
    first.commit(recorded_up_to=2)
    assert [first.find(key) is not None for key in "abc"] == [False, True, True]
    first.commit(recorded_up_to=3)
    first.close()
    second = Outbox(tmp_path / "outbox.db", keep_rows=0)
    assert second.unrecorded == 0
    second.commit(verdicts=[verdict("d")])
    assert second.unrecorded == 1
    second.close()


def test_a_commit_that_fails_changes_nothing(outbox: Outbox) -> None:
    outbox.commit(pending=[frame("a")])
    with pytest.raises(OutboxUnavailable):
        outbox.commit(pending=[frame("b"), frame("a")], verdicts=[verdict("c")])
    assert [left.key for left in outbox.pending()] == ["a"]
    assert outbox.find("c") is None
    outbox.commit(pending=[frame("b")])


def test_a_second_writer_is_refused(outbox: Outbox, tmp_path: Path) -> None:
    with pytest.raises(OutboxInUse):
        Outbox(tmp_path / "outbox.db")


def test_an_outbox_of_another_format_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "outbox.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(OutboxUnavailable, match="expected outbox format 1"):
        Outbox(tmp_path / "outbox.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OutboxUnavailable):
        Outbox(tmp_path / "outbox.db")


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    assert outbox._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.close()


def test_the_backlog_tells_what_waits_for_sql(outbox: Outbox) -> None:
    assert outbox.backlog().oldest is None
    outbox.commit(verdicts=[verdict("a"), replace(verdict("b"), decided_at=AT + timedelta(seconds=9))])
    outbox.commit(recorded_up_to=1)
    backlog = outbox.backlog()
    assert (backlog.rows, backlog.oldest) == (1, AT + timedelta(seconds=9))
    assert backlog.bytes_used > 0


FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.sampled_from(Decision),
    st.none() | st.sampled_from(ThresholdState),
    FLOATS,
    st.none() | st.text(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_a_verdict_survives_the_journal(
    decision: Decision, state: ThresholdState | None, score: float | None, part: str | None, at: datetime | None
) -> None:
    written = replace(
        verdict("a"), decision=decision, threshold_state=state, score=score, part=part, captured_at=at
    )
    assert from_text(to_text(written)) == written
