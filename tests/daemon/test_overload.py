"""More frames than there is room for: the window, then BUSY, then uninspected(overload)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.flow import Frame, Identity, RefusalReason
from daemon.patience import MOST, Patience
from tests.daemon.ingress_rig import FakeClock, Rig, accept, native, stock

MS = 1_000_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    life = Rig(tmp_path, window=2, retry_after_ms=70)
    yield life
    assert life.tally.conserved
    life.close()


def a_frame(key: str, received_ns: int, *, deadline_ms: int = 500) -> Frame:
    return Frame(
        key=key,
        identity=Identity(camera="cam1", line=4),
        sha256="",
        received_at=FakeClock().now(),
        received_ns=received_ns,
        deadline_ns=received_ns + deadline_ms * MS,
    )


def test_a_native_sender_has_its_window_and_hears_of_it(rig: Rig) -> None:
    peer, other = rig.peer(), rig.peer()
    for seq in (1, 2):
        rig.take_in(peer, native(seq=seq))
    rig.take_in(peer, native(seq=3))
    answer = rig.json_reply(peer)
    assert (answer["seq"], answer["status"], answer["retry_after_ms"], answer["window"]) == (3, "busy", 70, 2)
    rig.take_in(other, native(camera="cam2"))  # a window is a camera's own
    rig.worker.say(accept("cam1:b1:1"))
    answer = rig.json_reply(peer)
    assert (answer["seq"], answer["decision"], answer["window"]) == (1, "accept", 2)
    rig.take_in(peer, native(seq=3))
    assert [refusal.reason for refusal in rig.tally.refusals] == [RefusalReason.BUSY]


def test_a_replay_needs_no_room_in_the_window(rig: Rig) -> None:
    peer = rig.peer()
    for seq in (1, 2, 1, 2):
        rig.take_in(peer, native(seq=seq))
    assert (rig.tally.duplicates, rig.tally.refusals) == (2, [])


def test_stock_senders_have_no_window_but_what_is_free(rig: Rig) -> None:
    for _ in range(4):
        rig.take_in(rig.peer(), stock("cam1"))
    assert rig.tally.refusals == []


def test_a_frame_that_asks_until_its_time_is_over_is_uninspected_and_its_sender_told(rig: Rig) -> None:
    peer = rig.peer()
    for seq in (1, 2):
        rig.take_in(peer, native(seq=seq, camera="cam2", deadline_ms=800))
    for wait_ms in (0, 300, 199):
        rig.clock.advance(wait_ms)
        rig.take_in(peer, native(seq=3, camera="cam2", deadline_ms=500))
        assert rig.json_reply(peer)["status"] == "busy"
    rig.clock.advance(1)
    rig.take_in(peer, native(seq=3, camera="cam2", deadline_ms=500))
    answer = rig.json_reply(peer)
    assert (answer["seq"], answer["decision"], answer["reason"]) == (3, "uninspected", "overload")
    assert "cam2:b1:3" not in rig.worker.sent
    rig.take_in(peer, native(seq=3, camera="cam2", deadline_ms=500))  # a replay like any other
    assert rig.json_reply(peer)["reason"] == "overload"
    assert rig.tally.duplicates == 1


def test_a_full_outbox_says_busy_for_ever_and_makes_no_verdict(tmp_path: Path) -> None:
    rig = Rig(tmp_path, window=2, max_outbox_rows=1)
    peer = rig.peer()
    rig.take_in(peer, native(seq=1))
    for _ in range(3):
        rig.clock.advance(100)
        rig.take_in(peer, native(seq=2))
        assert rig.json_reply(peer)["status"] == "busy"
    assert rig.tally.verdicts == []
    rig.close()


@given(waits=st.lists(st.integers(0, 400), max_size=6))
def test_patience_ends_when_the_deadline_after_the_first_asking_has_come(waits: list[int]) -> None:
    patience, now_ms = Patience(), 0
    for wait in (0, *waits):
        now_ms += wait
        ends = patience.ends(a_frame("k", now_ms * MS))
        assert ends == (now_ms >= 500)


def test_patience_forgets_who_came_in_and_the_oldest_of_too_many() -> None:
    patience = Patience()
    assert not patience.ends(a_frame("in", 0))
    patience.forget(a_frame("in", 0))
    assert not patience.ends(a_frame("in", 900 * MS))
    for number in range(MOST):
        patience.ends(a_frame(f"other {number}", 900 * MS))
    assert not patience.ends(a_frame("in", 9_000 * MS))
