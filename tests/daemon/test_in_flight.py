"""The table of owned frames keeps its counts and its order of deadlines, whatever comes and goes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.flow import Frame, Identity, UninspectedReason
from daemon.in_flight import InFlight, Owned
from daemon.verdicts import Provenance, uninspected

AT = datetime(2026, 1, 2, tzinfo=UTC)


def owned(key: str, *, deadline_ns: int = 10, line: int = 4, size: int = 1) -> Owned:
    identity = Identity(camera="cam1", line=line)
    return Owned(
        frame=Frame(key=key, identity=identity, sha256="", received_at=AT, received_ns=0, deadline_ns=deadline_ns),
        size=size,
    )


def decide(frame: Owned) -> None:
    frame.verdict = uninspected(
        frame.frame,
        UninspectedReason.DEADLINE,
        at=AT,
        total_ms=0,
        by=Provenance(software_version="0", host="test"),
    )


def test_a_key_is_owned_once() -> None:
    table = InFlight()
    table.add(owned("a"))
    with pytest.raises(ValueError, match="in flight already"):
        table.add(owned("a"))


def test_settled_frames_leave_no_deadlines_behind() -> None:
    table = InFlight()
    for number in range(10_000):
        table.add(owned(str(number), deadline_ns=number + 10**12))
        table.settle(str(number))
    assert len(table._deadlines) < 100


class Comings(RuleBasedStateMachine):
    """Against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.table = InFlight()
        self.model: dict[str, Owned] = {}
        self.expired: set[str] = set()
        self.number = 0

    @rule(deadline_ns=st.integers(0, 50), line=st.integers(1, 3), size=st.integers(0, 9))
    def comes(self, deadline_ns: int, line: int, size: int) -> None:
        self.number += 1
        frame = owned(str(self.number), deadline_ns=deadline_ns, line=line, size=size)
        self.table.add(frame)
        self.model[frame.frame.key] = frame

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def is_decided(self, data: st.DataObject) -> None:
        decide(self.model[data.draw(st.sampled_from(sorted(self.model)))])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        self.table.settle(key)
        del self.model[key]

    @rule(now_ns=st.integers(0, 50))
    def time_passes(self, now_ns: int) -> None:
        late = self.table.expired(now_ns)
        due = {
            key
            for key, frame in self.model.items()
            if frame.verdict is None and frame.frame.deadline_ns <= now_ns and key not in self.expired
        }
        assert {frame.frame.key for frame in late} == due
        deadlines = [frame.frame.deadline_ns for frame in late]
        assert deadlines == sorted(deadlines)
        self.expired |= due

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.table) == len(self.model)
        assert self.table.bytes_held == sum(frame.size for frame in self.model.values())
        for line, count in self.table.count_by_line().items():
            assert count == sum(frame.frame.identity.line == line for frame in self.model.values())

    @invariant()
    def the_next_deadline_is_the_earliest(self) -> None:
        open_ones = [
            frame.frame.deadline_ns
            for key, frame in self.model.items()
            if frame.verdict is None and key not in self.expired
        ]
        assert self.table.next_deadline_ns() == min(open_ones, default=None)


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=50, stateful_step_count=30)
