"""The recorder thread: verdicts from the outbox into SQL, in order, each key once, at a bounded rate.

It never writes the outbox. What SQL has is handed to the ingress loop as one number, `recorded_up_to`. SQL
being away opens a circuit: nothing is tried until the pause is over, and pauses double up to a limit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.database import RecordsUnavailable
from daemon.flow import Verdict
from daemon.observer import Observer
from daemon.outbox import OutboxReader, OutboxUnavailable, StoredVerdict

log = logging.getLogger(__name__)


class InspectionWriter(Protocol):
    """What the recorder needs of daemon.records."""

    def insert_inspections(self, verdicts: Sequence[Verdict]) -> int:
        """Insert, ignoring known keys; the number inserted. Raises RecordsUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """Rows a transaction, seconds between two of them (together the bounded rate), and the pauses."""

    batch_rows: int = 500
    batch_pause_s: float = 0.05
    idle_pause_s: float = 0.25
    first_retry_s: float = 0.5
    longest_retry_s: float = 5.0


class Circuit:
    """How long to leave a failing dependency alone. Pure."""

    def __init__(self, *, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def pause_s(self) -> float:
        """How long to wait before the next attempt; 0 while closed."""
        if not self.is_open:
            return 0.0
        return float(min(self._longest_s, self._first_s * 2 ** min(self._failures - 1, 32)))

    def failed(self) -> None:
        """An attempt failed."""
        self._failures += 1

    def worked(self) -> None:
        """An attempt worked."""
        self._failures = 0


class Recorder:
    """Owns the thread. `start`, then `wake` after each commit; `drain` at stop."""

    def __init__(
        self,
        *,
        outbox: Path,
        records: InspectionWriter,
        observer: Observer,
        options: RecorderOptions = RecorderOptions(),
    ) -> None:
        self._reader = OutboxReader(outbox)
        self._records = records
        self._observer = observer
        self._options = options
        self._circuit = Circuit(first_s=options.first_retry_s, longest_s=options.longest_retry_s)
        self._position = -1
        self._turns = 0
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def recorded_up_to(self) -> int:
        """SQL has every verdict up to this position of the outbox. Safe to read from any thread."""
        return max(self._position, 0)

    @property
    def alive(self) -> bool:
        """Whether the thread runs. It ends by `drain` alone, or by an error nobody foresaw."""
        return self._thread.is_alive()

    @property
    def turns(self) -> int:
        """Counts up while the thread advances, SQL or no SQL; for the watchdog."""
        return self._turns

    @property
    def connected(self) -> bool:
        """Whether the last attempt to write SQL worked."""
        return not self._circuit.is_open

    def start(self) -> None:
        """Start the thread. The outbox file must exist."""
        self._thread.start()

    def wake(self) -> None:
        """There may be new verdicts. From any thread."""
        self._news.set()

    def drain(self, timeout_s: float) -> bool:
        """Write what is left while SQL answers, then end the thread. Whether everything was written."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._circuit.is_open

    def _run(self) -> None:
        try:
            more = self._step()
            while more or not self._stopping.is_set():
                self._pause(more)
                more = self._step()
        finally:
            self._reader.close()

    def _step(self) -> bool:
        """Move one batch; whether there may be more."""
        self._turns += 1
        try:
            if self._position < 0:
                self._position = self._reader.recorded_up_to()
            stored = self._reader.after(self._position, limit=self._options.batch_rows)
            if stored:
                self._write(stored)
        except (RecordsUnavailable, OutboxUnavailable) as error:
            self._failed(error)
            return False
        self._worked()
        return len(stored) == self._options.batch_rows

    def _write(self, stored: Sequence[StoredVerdict]) -> None:
        inserted = self._records.insert_inspections([row.verdict for row in stored])
        self._position = stored[-1].position
        self._observer.rows_written(inserted=inserted, ignored=len(stored) - inserted)
        self._observer.dependency("db", up=True)

    def _worked(self) -> None:
        if self._circuit.is_open:
            log.warning("SQL answers again; verdicts flow")
        self._circuit.worked()

    def _failed(self, error: Exception) -> None:
        if not self._circuit.is_open:
            log.warning("verdicts stay in the outbox: %s", error)
        self._circuit.failed()
        self._observer.dependency("db", up=False)
        self._observer.dependency_error("db")

    def _pause(self, more: bool) -> None:
        if self._circuit.is_open:
            self._stopping.wait(self._circuit.pause_s)  # a stop does not wait for the pause to end
            return
        if not more:
            self._news.wait(self._options.idle_pause_s)
            self._news.clear()
        self._stopping.wait(self._options.batch_pause_s)
