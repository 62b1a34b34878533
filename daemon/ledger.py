"""The books of ingress: which frames are owned, what was decided, and what of it is durable.

It keeps the table of frames in flight and the outbox consistent. Whatever changed since the last commit is
staged; while the outbox cannot be written verdicts stay staged and new frames can be given back: nothing is
lost and nothing is acknowledged.
Knows no socket.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.clock import Clock
from daemon.flow import Frame, RawFrame, UninspectedReason, Verdict
from daemon.in_flight import InFlight, Owned
from daemon.link import ScoredFrame
from daemon.outbox import Outbox
from daemon.verdicts import Provenance, scored, uninspected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """A verdict that became durable, with the frame it answers."""

    owned: Owned
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Committed:
    """What one commit made durable: frames to be scored, verdicts to be told."""

    stored: list[Owned]
    settled: list[Settled]


class Ledger:
    """Single-threaded, like everything in the loop."""

    def __init__(self, *, in_flight: InFlight, outbox: Outbox, provenance: Provenance, clock: Clock) -> None:
        self._in_flight = in_flight
        self._outbox = outbox
        self._provenance = provenance
        self._clock = clock
        self._fresh: list[Owned] = []
        self._decided: list[Settled] = []

    def own(self, frame: Frame, raw: RawFrame) -> Owned:
        """Take a new frame. Raises ValueError if its key is in flight."""
        owned = Owned(frame=frame, size=raw.payload.nbytes, raw=raw)
        self._in_flight.add(owned)
        self._fresh.append(owned)
        return owned

    def decide(self, answer: ScoredFrame) -> Verdict | None:
        """Make a worker's answer the frame's verdict; None where the frame is decided already."""
        owned = self._in_flight.get(answer.key)
        if owned is None or owned.verdict is not None:
            return None
        now_ns = self._clock.monotonic_ns()
        verdict = scored(
            owned.frame,
            answer,
            at=self._clock.now(),
            total_ms=_ms_since(owned.frame, now_ns),
            by=self._provenance,
        )
        self._stage(owned, verdict, now_ns)
        return verdict

    def first_verdict(self, key: str) -> Verdict | None:
        """The verdict that stands, durable or staged. Raises OutboxUnavailable."""
        owned = self._in_flight.get(key)
        return self._outbox.find(key) if owned is None else owned.verdict

    def lose(self, keys: list[str]) -> None:
        """The worker that had these frames is gone."""
        for key in keys:
            owned = self._in_flight.get(key)
            if owned is not None and owned.verdict is None:
                self._give_up(owned, UninspectedReason.WORKER_LOST)

    def expire(self) -> None:
        """Decide every frame whose deadline has come without an answer."""
        for owned in self._in_flight.expired(self._clock.monotonic_ns()):
            self._give_up(owned, UninspectedReason.DEADLINE)

    def overload(self, owned: Owned) -> None:
        """Decide a frame that there never was room for."""
        self._give_up(owned, UninspectedReason.OVERLOAD)

    def abandon(self) -> None:
        """Decide every frame that still waits: the service ends before their deadlines do."""
        for owned in self._in_flight.waiting():
            self._give_up(owned, UninspectedReason.RESTART)

    def recover(self) -> tuple[list[Frame], list[Verdict]]:
        """Give each frame that an earlier life left behind its verdict. Raises OutboxUnavailable."""
        frames = self._outbox.pending()
        verdicts = [self._after_restart(frame) for frame in frames]
        if verdicts:
            self._outbox.commit(verdicts=verdicts)
        return frames, verdicts

    def give_back(self) -> list[Owned]:
        """Frames that never became durable, owned no longer: their senders still have them."""
        fresh, self._fresh = self._fresh, []
        keys = {owned.frame.key for owned in fresh}
        self._decided = [settled for settled in self._decided if settled.verdict.key not in keys]
        for key in keys:
            self._in_flight.settle(key)
        return fresh

    def overdue(self) -> list[Owned]:
        """Frames that are decided and past their deadline, and whose verdicts cannot be made durable."""
        now_ns = self._clock.monotonic_ns()
        return [settled.owned for settled in self._decided if settled.owned.frame.deadline_ns <= now_ns]

    def commit(self, recorded_up_to: int, *, probe: bool = False) -> Committed | None:
        """Make everything staged durable in one transaction; None where there was nothing.

        recorded_up_to: what the recorder has written to SQL. probe: write also where nothing is staged.
        Raises OutboxUnavailable; all stays staged.
        """
        if not (self._fresh or self._decided or recorded_up_to > self._outbox.recorded_up_to or probe):
            return None
        self._outbox.commit(
            pending=[owned.frame for owned in self._fresh],
            verdicts=[settled.verdict for settled in self._decided],
            recorded_up_to=recorded_up_to,
            probe=probe,
        )
        committed = Committed(stored=self._fresh, settled=self._decided)
        self._fresh, self._decided = [], []
        for settled in committed.settled:
            self._in_flight.settle(settled.verdict.key)
        return committed

    def _give_up(self, owned: Owned, reason: UninspectedReason) -> None:
        now_ns = self._clock.monotonic_ns()
        verdict = uninspected(
            owned.frame,
            reason,
            at=self._clock.now(),
            total_ms=_ms_since(owned.frame, now_ns),
            by=self._provenance,
        )
        self._stage(owned, verdict, now_ns)

    def _stage(self, owned: Owned, verdict: Verdict, now_ns: int) -> None:
        owned.verdict, owned.decided_ns, owned.raw = verdict, now_ns, None
        self._decided.append(Settled(owned=owned, verdict=verdict))

    def _after_restart(self, frame: Frame) -> Verdict:
        now = self._clock.now()
        total_ms = max(0.0, (now - frame.received_at).total_seconds() * 1000)
        return uninspected(frame, UninspectedReason.RESTART, at=now, total_ms=total_ms, by=self._provenance)


def _ms_since(frame: Frame, now_ns: int) -> float:
    return (now_ns - frame.received_ns) / 1e6
