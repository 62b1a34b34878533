"""Answers go out: their files to disk first, then the answer to ingress. The scorer never waits for a disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from queue import SimpleQueue

import zmq

from daemon.captures import Captures
from daemon.clock import Clock
from daemon.evidence import Evidence
from daemon.link import BatchReport, ScoredBatch, ScoredFrame, pack_upward
from daemon.work import Answer, Answers


class Finisher(threading.Thread):
    """Owns the answers' way to ingress. Answers without files leave before the files of others are written."""

    def __init__(
        self,
        *,
        worker: int,
        life: int,
        evidence: Evidence,
        captures: Captures,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        clock: Clock,
    ) -> None:
        super().__init__(name="finisher", daemon=True)
        self._worker = worker
        self._life = life
        self._evidence = evidence
        self._captures = captures
        self._context = context
        self._endpoint = endpoint
        self._clock = clock
        self._waiting: SimpleQueue[Answers | None] = SimpleQueue()

    def put(self, answers: Answers) -> None:
        """Hand over a batch's answers; safe from any thread."""
        self._waiting.put(answers)

    def put_one(self, answer: Answer) -> None:
        """Hand over an answer that had no batch."""
        self._waiting.put(Answers(answers=(answer,)))

    def stop(self) -> None:
        """Finish what was handed over, then end."""
        self._waiting.put(None)
        self.join()

    def run(self) -> None:
        """Send answers until stopped."""
        with self._context.socket(zmq.PUSH) as socket:
            socket.set(zmq.LINGER, 1000)
            socket.set(zmq.SNDHWM, 0)  # bounded by what ingress has in flight
            socket.connect(self._endpoint)
            while (answers := self._waiting.get()) is not None:
                self._finish(socket, answers)

    def _finish(self, socket: zmq.Socket[bytes], answers: Answers) -> None:
        work = [(answer.scored, self._evidence.of(answer)) for answer in answers.answers]
        plain = [scored for scored, write in work if write is None]
        writes = [write for _, write in work if write is not None]
        report = answers.report
        if plain or not writes:
            self._send(socket, plain, None if writes else report)
        if writes:
            start_ns = self._clock.monotonic_ns()
            written = [write() for write in writes]
            self._send(socket, written, _with_seconds(report, (self._clock.monotonic_ns() - start_ns) / 1e9))
        for answer in answers.answers:
            if answer.frame is not None:
                self._captures.offer(answer.frame, answer.scored)

    def _send(self, socket: zmq.Socket[bytes], frames: Sequence[ScoredFrame], report: BatchReport | None) -> None:
        batch = ScoredBatch(worker=self._worker, life=self._life, frames=tuple(frames), report=report)
        socket.send(pack_upward(batch))


def _with_seconds(report: BatchReport | None, heatmap_s: float) -> BatchReport | None:
    if report is None:
        return None
    return replace(report, seconds={**report.seconds, "heatmap": heatmap_s})
