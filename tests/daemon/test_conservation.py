"""The law: every frame that enters leaves with one verdict, one refusal or as a counted replay, in every order
of sending, answering, losing, expiring, failing and dying."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.link import ScoredFrame
from daemon.outbox import OutboxUnavailable
from tests.daemon.ingress_rig import PIXELS, FakeClock, Rig, accept, native, reject, stock

SEQS = st.integers(0, 5)
FILLS = st.sampled_from([PIXELS, bytes(768)])
CAMERAS = st.sampled_from(["cam1", "cam2", "quiet", "stranger"])


class Traffic(RuleBasedStateMachine):
    """One camera socket, several lives of ingress over one outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
        self.clock = FakeClock()
        self.accepted: set[str] = set()
        self.entered: set[str] = set()
        self.begin()

    def begin(self) -> None:
        self.rig = Rig(self.folder, clock=self.clock, max_in_flight=4)
        self.rig.ingress.recover()
        self.peer = self.rig.peer()
        self.requests = self.replies = 0
        self.send([b""])  # a sender that says nothing would be told RESTARTED (tests/daemon/test_freeing.py)

    def send(self, parts: list[bytes]) -> None:
        self.requests += 1
        self.rig.take_in(self.peer, parts)
        self.entered |= set(self.rig.worker.sent)

    def say(self, answer: ScoredFrame) -> None:
        """Say it, and turn until it has an effect: a verdict, a conflict, or a frame settled before."""
        if answer.decision == "accept" and answer.score is not None and math.isfinite(answer.score):
            self.accepted.add(answer.key)
        self.rig.worker.say(answer)
        self.rig.ingress.turn(1000)

    @rule(camera=CAMERAS, seq=SEQS, payload=FILLS)
    def a_native_frame_comes(self, camera: str, seq: int, payload: bytes) -> None:
        self.send(native(camera=camera, seq=seq, payload=payload))

    @rule(camera=CAMERAS)
    def a_stock_frame_comes(self, camera: str) -> None:
        self.send(stock(camera))

    @rule(parts=st.sampled_from([[b""], [b"", b"{", b""], native(shape=[1, 1]), native(v=9), [b"x"] * 9]))
    def something_odd_comes(self, parts: list[bytes]) -> None:
        self.send(parts)

    @precondition(lambda self: self.rig.worker.sent)
    @rule(data=st.data(), kind=st.sampled_from(["accept", "reject", "nan", "decode"]))
    def a_worker_answers(self, data: st.DataObject, kind: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.rig.worker.sent)))
        self.say(
            {
                "accept": accept(key),
                "reject": reject(key),
                "nan": replace(accept(key), score=math.nan),
                "decode": ScoredFrame(key=key, decision="uninspected", reason="decode"),
            }[kind]
        )

    @rule()
    def the_worker_is_lost(self) -> None:
        self.rig.worker.lost = list(self.rig.worker.sent)
        self.rig.ingress.turn(0)

    @rule(ready=st.booleans())
    def the_worker_becomes(self, ready: bool) -> None:
        self.rig.worker.ready = ready
        self.rig.ingress.turn(0)

    @rule(ms=st.sampled_from([1, 300, 900]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)
        self.rig.ingress.turn(0)

    @rule(seq=SEQS)
    def a_frame_comes_while_the_outbox_fails(self, seq: int) -> None:
        def full(**_: Any) -> None:
            raise OutboxUnavailable("disk full")

        self.rig.outbox.commit = full  # type: ignore[method-assign]
        self.send(native(seq=seq))
        del self.rig.outbox.commit
        self.rig.ingress.turn(0)

    @rule(kindly=st.booleans())
    def the_service_restarts(self, kindly: bool) -> None:
        if kindly:
            self.rig.clock.advance(1000)
            self.rig.ingress.drain()
            self.hear_all()
        self.rig.close()
        self.begin()

    @invariant()
    def frames_are_conserved(self) -> None:
        assert self.rig.tally.conserved

    @invariant()
    def a_failure_is_never_an_accept(self) -> None:
        for verdict in self.rig.tally.verdicts:
            if verdict.decision == "accept":
                assert verdict.key in self.accepted
                assert verdict.score is not None
                assert math.isfinite(verdict.score)

    @invariant()
    def each_key_has_one_verdict(self) -> None:
        keys = [verdict.key for verdict in self.rig.tally.verdicts]
        assert len(keys) == len(set(keys))

    def hear_all(self) -> None:
        """Every request of this life has exactly one reply."""
        while self.replies < self.requests:
            body = self.rig.reply(self.peer)
            self.replies += 1
            assert body.startswith((b"ERR ", b"BUSY ", b"QUEUED ", b"{"))
            if body.startswith(b"{"):
                json.loads(body)
        assert not self.peer.poll(0)

    def teardown(self) -> None:
        self.clock.advance(1000)
        self.rig.ingress.turn(0)
        self.hear_all()
        assert self.rig.tally.conserved
        assert self.rig.outbox.pending() == []
        assert all(self.rig.outbox.find(key) is not None for key in self.entered)
        self.rig.close()
        shutil.rmtree(self.folder)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=25, stateful_step_count=25)
