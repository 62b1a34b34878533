"""Cursor, feed and what the outbox keeps for them: nothing is missed silently, whatever is killed or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.outbox import Outbox, forgettable
from daemon.outputs.cursor import CursorFile
from daemon.outputs.feed import Feed
from tests.daemon.outputs.rig import key, verdict


class Losses:
    def __init__(self) -> None:
        self.total = 0

    def __call__(self, count: int) -> None:
        self.total += count


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Outbox(tmp_path / "outbox.db", keep_rows=0)
    yield journal
    journal.close()


@pytest.fixture
def losses() -> Losses:
    return Losses()


def feed(state: Path, losses: Losses) -> Feed:
    return Feed(outbox=state / "outbox.db", cursor=CursorFile(state, "plant"), sink="plant", lost=losses)


def put(outbox: Outbox, *numbers: int) -> None:
    outbox.commit(verdicts=[verdict(number) for number in numbers])


def read(feed: Feed) -> list[str]:
    rows = feed.read(100)
    if rows:
        feed.advance(rows[-1].position)
    return [row.verdict.key for row in rows]


def test_an_output_that_never_ran_begins_with_the_next_verdict(
    outbox: Outbox, tmp_path: Path, losses: Losses
) -> None:
    put(outbox, 1, 2)
    plant = feed(tmp_path, losses)
    assert read(plant) == []
    put(outbox, 3)
    assert read(plant) == [key(3)]
    plant.close()


def test_a_second_life_goes_on_where_the_first_stopped(outbox: Outbox, tmp_path: Path, losses: Losses) -> None:
    first = feed(tmp_path, losses)
    read(first)
    put(outbox, 1, 2, 3)
    assert [row.verdict.key for row in first.read(2)] == [key(1), key(2)]
    first.advance(2)
    first.save()
    first.close()
    second = feed(tmp_path, losses)
    assert read(second) == [key(3)]
    assert losses.total == 0
    second.close()


def test_the_outbox_keeps_what_an_output_has_not_delivered(tmp_path: Path, losses: Losses) -> None:
    plant = feed(tmp_path, losses)
    outbox = Outbox(tmp_path / "outbox.db", keep_rows=0, held_after=lambda: plant.kept)
    read(plant)
    put(outbox, *range(1, 11))
    outbox.commit(recorded_up_to=10)
    assert len(plant.read(100)) == 10
    plant.advance(6)
    plant.save()
    put(outbox, 11)
    outbox.commit(recorded_up_to=11)
    assert outbox.find(key(5)) is None
    assert read(plant) == [key(number) for number in range(7, 12)]
    assert losses.total == 0
    outbox.close()
    plant.close()


def test_beyond_max_rows_the_oldest_go_and_are_counted(
    tmp_path: Path, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    plant = feed(tmp_path, losses)
    outbox = Outbox(tmp_path / "outbox.db", keep_rows=0, max_rows=4, held_after=lambda: plant.kept)
    read(plant)
    for number in range(1, 11):
        put(outbox, number)
        outbox.commit(recorded_up_to=number)
    assert read(plant) == [key(number) for number in range(7, 11)]
    assert losses.total == 6
    assert "lost 6 verdicts" in caplog.text
    put(outbox, 11)
    assert read(plant) == [key(11)]
    assert losses.total == 6
    outbox.close()
    plant.close()


def test_a_verdict_that_sql_has_not_is_never_forgotten_for_an_output(tmp_path: Path, losses: Losses) -> None:
    outbox = Outbox(tmp_path / "outbox.db", keep_rows=0, max_rows=2, held_after=lambda: 100)
    put(outbox, *range(1, 11))
    outbox.commit(recorded_up_to=3)
    assert outbox.find(key(4)) is not None
    assert outbox.find(key(3)) is None
    outbox.close()


@given(
    up_to=st.integers(0, 100),
    unrecorded=st.integers(0, 50),
    keep=st.integers(0, 100),
    most=st.integers(10, 100),
    held=st.none() | st.integers(0, 150),
)
def test_outputs_only_ever_make_the_outbox_keep_more(
    up_to: int, unrecorded: int, keep: int, most: int, held: int | None
) -> None:
    last = up_to + unrecorded
    bound = forgettable(up_to=up_to, last=last, keep_rows=keep, max_rows=most, held_after=held)
    assert bound <= up_to - keep
    if held is not None and bound >= held:
        assert last - bound >= most  # only the bound on rows takes from an output what it has not delivered
    if held is not None:
        assert last - bound <= max(most, last - held + 1, last - up_to + keep)


def test_many_rows_are_forgotten_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.outbox.PRUNE_ROWS", 3)
    outbox = Outbox(tmp_path / "outbox.db", keep_rows=0)
    put(outbox, *range(1, 9))
    outbox.commit(recorded_up_to=8)
    assert [outbox.find(key(number)) is None for number in (1, 3, 4, 8)] == [True, True, False, False]
    outbox.commit(probe=True)
    assert [outbox.find(key(number)) is None for number in (6, 7)] == [True, False]
    outbox.close()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"position": -1}', b'{"position": "7"}', b"\xff"])
def test_a_damaged_cursor_sends_again_rather_than_never(
    damage: bytes, outbox: Outbox, tmp_path: Path, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, 1, 2)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "plant.cursor").write_bytes(damage)
    plant = feed(tmp_path, losses)
    assert read(plant) == [key(1), key(2)]
    assert losses.total == 0
    assert "plant.cursor" in caplog.text
    plant.close()


def test_a_new_outbox_under_an_old_cursor_is_read_from_its_start(
    outbox: Outbox, tmp_path: Path, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, 1)
    CursorFile(tmp_path, "plant").write(5000)
    plant = feed(tmp_path, losses)
    assert read(plant) == [key(1)]
    assert "another one" in caplog.text
    plant.close()


def test_a_cursor_that_cannot_be_written_stops_nothing(
    outbox: Outbox, tmp_path: Path, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outputs").write_bytes(b"a file where the folder should be")
    plant = feed(tmp_path, losses)
    assert read(plant) == []
    put(outbox, 1)
    assert read(plant) == [key(1)]
    plant.save()
    plant.save()
    assert caplog.text.count("cannot be written") == 1
    plant.close()
