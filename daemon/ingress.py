"""The ingress loop: it owns every frame from receipt to a durable verdict, and answers every sender once.

One thread, one turn at a time (docs/architecture.md): read cameras and answers, expire deadlines, one outbox
transaction, and only then replies, publication and dispatch. It builds nothing itself and waits for nothing
but its sockets.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Protocol

import zmq

from daemon.admission import OUTBOX_FAILS, RESTART, Admission, IngressOptions
from daemon.backlog import BacklogReport
from daemon.camera_socket import CameraSocket
from daemon.cameras import CameraDirectory
from daemon.clock import Clock
from daemon.dispatch import Dispatcher
from daemon.door import Door, OpenDoor
from daemon.flow import Refusal
from daemon.freeing import Freeing
from daemon.in_flight import InFlight, Owned
from daemon.ledger import Committed, Ledger, Settled
from daemon.link import ScoredBatch, ScoredFrame
from daemon.observer import Observer
from daemon.orphans import discard, sweep_pictures
from daemon.outbox import Outbox, OutboxUnavailable
from daemon.publisher import VerdictPublisher
from daemon.reception import Reception
from daemon.replies import Replies
from daemon.verdicts import contradicts
from daemon.worker_port import WorkerPort

log = logging.getLogger(__name__)

LONGEST_POLL_MS = 100
HELD_REPLY_POLL_MS = 5
MESSAGES_A_TURN = 64
BYTES_A_TURN = 64 * 1024 * 1024
MESSAGES_AT_ONCE = 8
READING_NS = 5_000_000
"""After so long a turn reads no more: verdicts that are ready, and the frames of this turn, wait for its end."""


class StopFlag(Protocol):
    """Set by a signal handler; threading.Event is one."""

    def is_set(self) -> bool: ...


class Recording(Protocol):
    """What the loop needs of daemon.recorder."""

    @property
    def recorded_up_to(self) -> int: ...

    def wake(self) -> None: ...


class Ingress:
    """The loop. `run` is the whole life; `recover`, `turn` and `drain` are its phases, for tests."""

    def __init__(
        self,
        *,
        cameras: CameraDirectory,
        options: IngressOptions,
        outbox: Outbox,
        recording: Recording,
        workers: WorkerPort,
        camera_socket: CameraSocket,
        publisher: VerdictPublisher,
        observer: Observer,
        clock: Clock,
        door: Door | None = None,
    ) -> None:
        self._cameras = cameras
        self._recording = recording
        self._workers = workers
        self._socket = camera_socket
        self._publisher = publisher
        self._observer = observer
        self._clock = clock
        self._in_flight = InFlight()
        self._ledger = Ledger(in_flight=self._in_flight, outbox=outbox, provenance=options.provenance, clock=clock)
        self._admission = Admission(
            cameras=cameras, in_flight=self._in_flight, outbox=outbox, options=options, clock=clock
        )
        self._freeing = Freeing(camera_socket, observer=observer, clock=clock)
        self._replies = Replies(self._freeing)
        self._reception = Reception(
            cameras=cameras,
            door=door or OpenDoor(cameras),
            admission=self._admission,
            in_flight=self._in_flight,
            ledger=self._ledger,
            replies=self._replies,
            freeing=self._freeing,
            observer=observer,
        )
        self._dispatcher = Dispatcher(workers)
        self._backlog = BacklogReport(outbox=outbox, observer=observer, clock=clock)
        self._turns = 0
        self._poller = zmq.Poller()
        for socket in (camera_socket.socket, workers.poll_socket):
            self._poller.register(socket, zmq.POLLIN)

    @property
    def turns(self) -> int:
        """Counts up while the loop advances; for the watchdog. Safe to read from any thread."""
        return self._turns

    @property
    def frames_in_flight(self) -> int:
        """Frames owned now. Safe to read from any thread."""
        return len(self._in_flight)

    def reconfigure(self, cameras: CameraDirectory, options: IngressOptions) -> None:
        """Go by these from the next message on; frames in flight keep their line and deadline."""
        self._cameras.become(cameras)
        self._admission.options = options

    def run(self, stop: StopFlag, *, tend: Callable[[], None] = lambda: None) -> None:
        """Recover, turn until stopped, drain. tend: called after every turn, for the service's own chores.

        Raises OutboxUnavailable if the rows of the last life cannot be settled.
        """
        self.recover()
        while not stop.is_set():
            self.turn()
            tend()
        self.drain(tend)

    def recover(self) -> None:
        """Give every frame that an earlier life left behind its verdict. Raises OutboxUnavailable."""
        left_behind, verdicts = self._ledger.recover()
        if not left_behind:
            return
        log.warning("%d frames of an earlier life are uninspected", len(verdicts))
        self._observer.recovered(len(verdicts))
        for verdict in verdicts:
            self._observer.verdict(verdict, slack_s=-verdict.total_ms / 1000)
            self._publisher.publish(verdict)
        sweep_pictures(self._admission.options.state_dir, left_behind, today=self._clock.now().date())

    def turn(self, timeout_ms: int | None = None) -> int:
        """One turn. timeout_ms: how long to wait for something to do, None for as long as is safe.

        Returns how many camera messages it read.
        """
        self._poller.poll(self._patience_ms() if timeout_ms is None else timeout_ms)
        self._turns += 1
        self._socket.watch_connections()
        self._socket.flush()
        self._publisher.check_keys()
        read = self._read_cameras()
        self._freeing.tend()  # after reading: who speaks is not told RESTARTED
        self._take_answers()
        self._ledger.lose(self._workers.check())
        self._ledger.expire()
        if self._commit():
            self._dispatcher.pump()
        self._observer.in_flight(self._in_flight.count_by_line())
        self._backlog.report()
        return read

    def drain(self, tend: Callable[[], None] = lambda: None) -> None:
        """Let nothing more in and answer everyone: `BUSY restart`, or the verdict of a frame in flight.

        Frames whose deadlines lie beyond the drain's own become uninspected(restart).
        """
        self._admission.closed = RESTART
        self._freeing.stop()
        give_up_ns = self._clock.monotonic_ns() + int(self._admission.options.drain_s * 1e9)
        while len(self._in_flight) and self._clock.monotonic_ns() < give_up_ns:
            self.turn()
            tend()
        self._ledger.abandon()
        # also bounded: a sender may answer each BUSY with its next frame
        while (self.turn(0) or self._socket.held) and self._clock.monotonic_ns() < give_up_ns:
            tend()
        # only while the outbox cannot be written is anyone left; the next life settles their frames
        left = self._in_flight.take_waiters()
        self._replies.turn_away(left, retry_after_ms=self._admission.options.retry_after_ms)

    def _read_cameras(self) -> int:
        """Take in what cameras sent, within the bounds of a turn; how many messages that were."""
        end_ns = self._clock.monotonic_ns() + READING_NS
        read = size = 0
        while read < MESSAGES_A_TURN and size < BYTES_A_TURN:
            messages = self._socket.receive(limit=MESSAGES_AT_ONCE, limit_bytes=BYTES_A_TURN - size)
            for message in messages:
                self._reception.take_in(message)
            read += len(messages)
            size += sum(message.size for message in messages)
            if len(messages) < MESSAGES_AT_ONCE or self._clock.monotonic_ns() >= end_ns:
                break
        return read

    # what is decided

    def _take_answers(self) -> None:
        for message in self._workers.receive():
            if isinstance(message, ScoredBatch):
                if message.report is not None:
                    self._observer.batch(message.report)
                for answer in message.frames:
                    self._take_answer(answer)
            else:
                self._observer.worker_status(message)

    def _take_answer(self, answer: ScoredFrame) -> None:
        """The first verdict stands; a different late one is counted. Pictures that no verdict names go."""
        verdict = self._ledger.decide(answer)
        if verdict is None:
            try:
                verdict = self._ledger.first_verdict(answer.key)
            except OutboxUnavailable as error:
                log.error("a late answer for %s cannot be compared: %s", answer.key, error)
                return
            if verdict is not None and contradicts(verdict, answer):
                self._observer.verdict_conflict(verdict.line)
        named = () if verdict is None else (verdict.heatmap, verdict.frame)
        for path in (answer.heatmap, answer.frame):
            if path is not None and path not in named:
                discard(self._admission.options.state_dir, path)

    # what is durable

    def _commit(self) -> bool:
        """The turn's one transaction, then everything that had to wait for it. False if it failed."""
        started_ns = self._clock.monotonic_ns()
        try:
            committed = self._ledger.commit(
                self._recording.recorded_up_to, probe=self._admission.closed == OUTBOX_FAILS
            )
        except OutboxUnavailable as error:
            self._outbox_failed(error)
            return False
        if committed is not None:
            self._observer.turn(
                pending=len(committed.stored),
                verdicts=len(committed.settled),
                seconds=(self._clock.monotonic_ns() - started_ns) / 1e9,
            )
            self._outbox_works()
            self._release(committed)
        self._replies.keep_promises()
        return True

    def _release(self, committed: Committed) -> None:
        """New frames may go to a worker, verdicts to whoever waits."""
        self._dispatcher.add(committed.stored)
        for settled in committed.settled:
            self._announce(settled)
        if committed.settled:
            self._recording.wake()

    def _announce(self, settled: Settled) -> None:
        owned, verdict = settled.owned, settled.verdict
        for waiter in owned.waiters:
            self._replies.verdict(waiter, verdict)
        self._publisher.publish(verdict)
        self._observer.verdict(verdict, slack_s=(owned.frame.deadline_ns - owned.decided_ns) / 1e9)

    def _outbox_failed(self, error: OutboxUnavailable) -> None:
        if self._admission.closed is None:
            log.error("nothing is let in while the outbox fails: %s", error)
            self._admission.closed = OUTBOX_FAILS
        self._observer.dependency_error("outbox")
        for owned in self._ledger.give_back():  # its sender's again, and counted as refused
            refusal = self._turn_away(owned)
            if refusal is not None:
                self._observer.frame_refused(refusal, line=owned.frame.identity.line)
        for owned in self._ledger.overdue():  # its verdict comes when there is space; nobody waits so long
            self._turn_away(owned)

    def _turn_away(self, owned: Owned) -> Refusal | None:
        """Tell everyone who waits for this frame to come back; what the first was told."""
        waiters = owned.waiters + self._replies.take_back(owned.frame.key)
        owned.waiters = []
        refusals = [self._admission.closed_to(waiter, owned.frame.identity.camera) for waiter in waiters]
        for waiter, refusal in zip(waiters, refusals, strict=True):
            self._replies.refusal(waiter.route, refusal)
        return refusals[0] if refusals else None

    def _outbox_works(self) -> None:
        if self._admission.closed == OUTBOX_FAILS:
            log.warning("the outbox works again")
            self._admission.closed = None

    def _patience_ms(self) -> int:
        """How long to wait for a socket: until the next deadline, at most 100 ms."""
        if self._socket.held:
            return HELD_REPLY_POLL_MS
        deadline_ns = self._in_flight.next_deadline_ns()
        if deadline_ns is None:
            return LONGEST_POLL_MS
        remaining_ms = math.ceil((deadline_ns - self._clock.monotonic_ns()) / 1e6)
        return min(LONGEST_POLL_MS, max(0, remaining_ms))
