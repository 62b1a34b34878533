"""The outbox as one sink reads it: in order, from where it stopped, and what it came too late for is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from daemon.outbox import OutboxReader, StoredVerdict
from daemon.outputs.cursor import CursorFile, CursorUnreadable

log = logging.getLogger(__name__)

SAVE_EVERY_S = 0.5
"""A killed daemon sends at most what it delivered in so long again; an fsync a message would cost the outbox's."""


class Feed:
    """Belongs to the sink's thread; `kept` and `lag` may be read from any. lost: called with how many are gone.

    A sink that never ran begins with the next verdict; one whose outbox was replaced, or whose cursor is
    damaged, with the oldest that is there: twice is better than never.
    """

    def __init__(
        self,
        *,
        outbox: Path,
        cursor: CursorFile,
        sink: str,
        lost: Callable[[int], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = OutboxReader(outbox)
        self._cursor = cursor
        self._sink = sink
        self._lost = lost
        self._monotonic = monotonic
        self._position: int | None = None
        self._saved_at = -SAVE_EVERY_S
        self._cannot_save = False
        self.kept = 0
        self.lag = 0

    def read(self, limit: int) -> list[StoredVerdict]:
        """The next verdicts. Raises OutboxUnavailable."""
        position = self._begun()
        rows = self._reader.after(position, limit=limit)
        oldest, last = self._reader.extent()
        if rows and oldest > position:  # the row we stand on is kept for us; without it others may have gone too
            self._note_loss(rows[0].position - 1 - position)
        self.lag = max(0, last - position)
        return rows

    def advance(self, position: int) -> None:
        """The other end has everything up to here."""
        self.lag = max(0, self.lag - (position - self._begun()))
        self._position = position
        if self._monotonic() - self._saved_at >= SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Make the position durable. On a full disk it stays in memory: then a restart sends again."""
        position = self._begun()
        if position == self.kept and self._saved_at >= 0:
            return
        self._saved_at = self._monotonic()
        try:
            self._cursor.write(position)
        except OSError as error:
            if not self._cannot_save:
                log.error("output %s: its cursor cannot be written: %s", self._sink, error)
            self._cannot_save = True
            return
        self._cannot_save = False
        self.kept = position

    def close(self) -> None:
        """From the thread that read."""
        self._reader.close()

    def _begun(self) -> int:
        if self._position is None:
            self._position = self._start()
            self.kept = self._position
            self.save()
        return self._position

    def _start(self) -> int:
        oldest, last = self._reader.extent()
        from_the_oldest = max(0, oldest - 1)
        try:
            position = self._cursor.read()
        except CursorUnreadable as error:
            log.error("output %s begins with the oldest verdict kept: %s", self._sink, error)
            return from_the_oldest
        if position is None:
            return last
        if position > last:
            log.error("output %s: the outbox is another one than before; it begins with its oldest", self._sink)
            return from_the_oldest
        return position

    def _note_loss(self, count: int) -> None:
        if count > 0:
            log.error(
                "output %s lost %d verdicts: it fell further behind than outbox.max_rows; SQL has them",
                self._sink,
                count,
            )
            self._lost(count)
