"""The files that go with an answer: its heatmap and the camera's picture. Written before the answer leaves.

Neither may cost a verdict: close to the deadline, or on a disk that refuses, the answer goes without.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daemon.clock import Clock
from daemon.heatmaps import heatmap_path, overlay, write_heatmap
from daemon.kept_frames import KeepRule, frame_path, write_frame
from daemon.link import ScoredFrame
from daemon.status_board import StatusBoard
from daemon.work import Answer, Heat, QueuedFrame

log = logging.getLogger(__name__)

SPARE_NS = 30_000_000
"""Time before the deadline below which a verdict goes without its files: the verdict matters more."""


class Evidence:
    """Writes heatmaps and kept frames. One thread: the finisher's."""

    def __init__(self, *, state: Path, keep: KeepRule, board: StatusBoard, clock: Clock) -> None:
        self._state = state
        self._keep = keep
        self._board = board
        self._clock = clock

    def of(self, answer: Answer) -> Callable[[], ScoredFrame] | None:
        """What is to be written for an answer, as the work that does it; None where there is nothing."""
        frame = answer.frame
        kept = frame if frame is not None and self._keep.keeps(frame.line, answer.scored.decision) else None
        if answer.heat is None and kept is None:
            return None
        return lambda: self._written(answer.scored, answer.heat, kept)

    def _written(self, scored: ScoredFrame, heat: Heat | None, frame: QueuedFrame | None) -> ScoredFrame:
        if heat is not None:
            scored = self._with_heatmap(scored, heat)
        return scored if frame is None else self._with_frame(scored, frame)

    def _with_heatmap(self, scored: ScoredFrame, heat: Heat) -> ScoredFrame:
        if self._late(heat.deadline_ns):
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

    def _with_frame(self, scored: ScoredFrame, frame: QueuedFrame) -> ScoredFrame:
        if self._late(frame.deadline_ns):
            self._board.kept_frame("skipped")
            return scored
        path = frame_path(frame.line, scored.key, frame.header.encoding, self._clock.now().date())
        try:
            write_frame(self._state, path, frame)
        except Exception:  # as above
            log.exception("the picture %s was not kept", path)
            self._board.kept_frame("failed")
            return scored
        self._board.kept_frame("written")
        return replace(scored, frame=path)

    def _late(self, deadline_ns: int) -> bool:
        return self._clock.monotonic_ns() + SPARE_NS > deadline_ns
