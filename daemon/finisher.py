"""Answers go out: heatmaps to disk first, then the answer to ingress. The scorer never waits for a disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import zmq

from daemon.clock import Clock
from daemon.heatmaps import heatmap_path, overlay, write_heatmap
from daemon.link import BatchReport, ScoredBatch, ScoredFrame, pack_upward
from daemon.status_board import StatusBoard
from daemon.work import Answer, Answers, Heat

log = logging.getLogger(__name__)

HEATMAP_NS = 30_000_000
"""Time before the deadline below which a verdict goes without its heatmap: the verdict matters more."""


class Finisher(threading.Thread):
    """Owns the answers' way to ingress. Answers without a heatmap leave before the heatmaps are drawn."""

    def __init__(
        self,
        *,
        worker: int,
        life: int,
        state: Path,
        board: StatusBoard,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        clock: Clock,
    ) -> None:
        super().__init__(name="finisher", daemon=True)
        self._worker = worker
        self._life = life
        self._state = state
        self._board = board
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
        plain = [answer.scored for answer in answers.answers if answer.heat is None]
        heated = [(answer.scored, answer.heat) for answer in answers.answers if answer.heat is not None]
        if not heated:
            self._send(socket, plain, answers.report)
            return
        if plain:
            self._send(socket, plain, None)
        start_ns = self._clock.monotonic_ns()
        drawn = [self._with_heatmap(scored, heat) for scored, heat in heated]
        seconds = (self._clock.monotonic_ns() - start_ns) / 1e9
        self._send(socket, drawn, _with_seconds(answers.report, seconds))

    def _with_heatmap(self, scored: ScoredFrame, heat: Heat) -> ScoredFrame:
        if self._clock.monotonic_ns() + HEATMAP_NS > heat.deadline_ns:
            self._board.heatmap("skipped")
            return replace(scored, no_heatmap="late")
        path = heatmap_path(heat.line, scored.key, self._clock.now().date())
        try:
            write_heatmap(self._state, path, overlay(heat.image, heat.map, heat.scale))
        except Exception as error:  # a picture for people may cost no verdict
            log.exception("heatmap %s was not written", path)
            self._board.heatmap("failed")
            return replace(scored, no_heatmap="disk" if isinstance(error, OSError) else "error")
        self._board.heatmap("written")
        return replace(scored, heatmap=path, no_heatmap=None)

    def _send(self, socket: zmq.Socket[bytes], frames: Sequence[ScoredFrame], report: BatchReport | None) -> None:
        batch = ScoredBatch(worker=self._worker, life=self._life, frames=tuple(frames), report=report)
        socket.send(pack_upward(batch))


def _with_seconds(report: BatchReport | None, heatmap_s: float) -> BatchReport | None:
    if report is None:
        return None
    return replace(report, seconds={**report.seconds, "heatmap": heatmap_s})
