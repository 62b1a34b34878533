"""Whom to free, and which replies to keep back: decided from numbers and times alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.silent_peers import DOUBT_NS, MOST, QUIET_NS, Doubts, SilentPeers


def route(number: int) -> bytes:
    return b"\0" + (number % 2**32).to_bytes(4, "big")


@given(first=st.integers(0, 2**32 - 1), said=st.lists(st.booleans(), max_size=40))
def test_everyone_between_two_probes_who_said_nothing_is_due_once(first: int, said: list[bool]) -> None:
    silent = SilentPeers()
    silent.probed(route(first), 0)
    numbers = range(first + 1, first + 1 + len(said))
    for number, spoke in zip(numbers, said, strict=True):
        if spoke:
            silent.spoke(route(number))
    silent.probed(route(first + 1 + len(said)), 10)
    assert silent.take_due(10 + QUIET_NS - 1) == []
    due = silent.take_due(10 + QUIET_NS)
    assert due == [route(number) for number, spoke in zip(numbers, said, strict=True) if not spoke]
    silent.probed(route(first + 2 + len(said)), 20)
    assert silent.take_due(2**62) == []


def test_who_speaks_before_he_is_due_is_left_alone() -> None:
    silent = SilentPeers()
    silent.probed(route(7), 0)
    silent.probed(route(10), 0)
    silent.spoke(route(8))
    assert silent.take_due(QUIET_NS) == [route(9)]


def test_a_flood_of_connections_is_looked_at_from_its_end() -> None:
    silent = SilentPeers()
    silent.probed(route(0), 0)
    silent.probed(route(100_000), 0)
    due = silent.take_due(QUIET_NS)
    assert (len(due), due[-1]) == (MOST, route(99_999))


def test_a_route_that_a_peer_chose_is_no_probe() -> None:
    with pytest.raises(ValueError, match="expected a route that libzmq made up"):
        SilentPeers().probed(b"camera", 0)


def test_the_first_reply_after_restarted_is_kept_until_the_doubt_is_over() -> None:
    doubts = Doubts()
    doubts.begin(b"peer", 0)
    assert not doubts.heard(b"peer")
    assert doubts.keeps(b"peer", b"verdict")
    assert doubts.take_over(DOUBT_NS - 1) == []
    assert doubts.take_over(DOUBT_NS) == [(b"peer", b"verdict")]
    assert not doubts.keeps(b"peer", b"next")


def test_a_second_request_shows_that_restarted_answered_the_first() -> None:
    doubts = Doubts()
    doubts.begin(b"peer", 0)
    assert not doubts.heard(b"peer")
    assert doubts.keeps(b"peer", b"verdict of the first")
    assert doubts.heard(b"peer")
    assert not doubts.keeps(b"peer", b"verdict of the second")
    assert doubts.take_over(2**62) == []


def test_who_was_never_told_restarted_is_answered_at_once() -> None:
    doubts = Doubts()
    doubts.begin(b"other", 0)
    assert not doubts.heard(b"peer")
    assert not doubts.keeps(b"peer", b"verdict")
