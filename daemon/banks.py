"""Which bank and thresholds each line scores with, now.

The keeper's thread watches SQL (every 30 s, and at once when Redis rings), fetches banks and stages them;
the scorer takes what is staged between two batches, so that a batch sees one (bank, thresholds) pair a
line. Whatever goes wrong with a new pair, the line goes on with the one it has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.errors import BankError, MismatchError
from daemon.bank_budget import held_bytes, lines_to_forget, too_large
from daemon.bank_cache import BankCache, CacheUnavailable, ChangeFeed
from daemon.bank_fetch import BankFetch
from daemon.bank_status import KeeperStatus, line_status
from daemon.clock import Clock
from daemon.database import RecordsUnavailable
from daemon.known_lines import recall_lines, remember_lines
from daemon.record_rows import LineAssignment
from daemon.work import LineBank, PreparedBank

log = logging.getLogger(__name__)

POLL_S = 30.0
RETRY_S = 2.0
"""Between looks while SQL is down or a bank could not be fetched."""
LISTEN_S = 0.5
DEFAULT_BUDGET_BYTES = 2 << 30
"""20 lines' banks of 4 shots with ViT-L-14 at 518 pixels, in float32 on a CPU; on a GPU they take half."""


class Assignments(Protocol):
    """What the keeper needs of daemon.records.Records."""

    def lines(self) -> Sequence[LineAssignment]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Staged:
    """An assignment with its bank: prepared where it is in memory already, else as read."""

    assignment: LineAssignment
    bank: Any = None
    prepared: PreparedBank | None = None


class BankKeeper(threading.Thread):
    """Keeps the banks of the configured lines.

    records: the truth. cache: None does without Redis. read_bank: (bytes, sha256) -> core.ReferenceBank.
    budget_bytes: see daemon.bank_budget; while a bank is taken in, it comes on top.
    `swap_in` belongs to the scorer's thread, `current` and `status` to any.
    """

    def __init__(
        self,
        *,
        records: Assignments,
        cache: BankCache | None,
        state: Path,
        lines: Collection[int],
        read_bank: Callable[[bytes, str], Any],
        clock: Clock,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> None:
        super().__init__(name="bank-keeper", daemon=True)
        self._records = records
        self._cache = cache
        self._state = state
        self._lines = frozenset(lines)
        self._fetch = BankFetch(cache=cache, state=state, read_bank=read_bank)
        self._clock = clock
        self._budget_bytes = budget_bytes
        self._complaint: str | None = None
        self._lock = threading.Lock()
        self._current: dict[int, LineBank] = {}
        self._previous: dict[int, LineBank] = {}
        self._staged: dict[int, _Staged] = {}
        self._settled: dict[int, tuple[int, str]] = {}
        self._errors: dict[int, str] = {}
        self._remembered: list[LineAssignment] | None = None
        self._feed: ChangeFeed | None = None
        self._redis_up = False
        self._db_up = False
        self._complete = False
        self._looked = threading.Event()
        self._rewatch = threading.Event()
        self._ended = threading.Event()

    # The keeper's thread

    def run(self) -> None:
        """Look, then wait for an announcement or the next poll, until stopped."""
        while not self._ended.is_set():
            self.look()
            self._wait_for_change()
        if self._feed is not None:
            self._feed.close()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()

    def look(self) -> None:
        """Compare SQL with what the lines score with, and stage what is new."""
        wanted = [assignment for assignment in self._assignments() if assignment.line in self._lines]
        self._complete = sum(self._consider(assignment) for assignment in wanted) == len(wanted)
        self._looked.set()

    def watch(self, lines: Collection[int]) -> None:
        """Keep the banks of these lines from now on; looks at once. Safe from any thread.

        What a former line scored with stays, for its frames under way, until this life ends.
        """
        self._lines = frozenset(lines)
        self._rewatch.set()

    def wait_for_first_look(self, timeout_s: float) -> bool:
        """Whether the keeper has looked once, waiting at most `timeout_s`."""
        return self._looked.wait(timeout_s)

    def _assignments(self) -> Sequence[LineAssignment]:
        try:
            assignments = list(self._records.lines())
        except RecordsUnavailable as error:
            if self._db_up or not self._looked.is_set():
                log.warning("SQL does not answer, lines go on with what they have: %s", error)
            self._db_up = False
            return recall_lines(self._state) if self._remembered is None else ()
        self._db_up = True
        if assignments != self._remembered:
            self._remembered = assignments
            remember_lines(self._state, assignments)
        return assignments

    def _consider(self, assignment: LineAssignment) -> bool:
        """Stage the assignment if it is new; False where its bank could not be fetched now."""
        line, wanted = assignment.line, (assignment.revision, assignment.bank_sha256)
        if self._settled.get(line) == wanted:
            return True
        prepared = self._in_memory(assignment.bank_sha256)
        try:
            bank = None if prepared else self._fetch.fetch(assignment)
        except BankError as error:
            self._note_error(line, str(error))
            return False
        with self._lock:
            self._settled[line] = wanted
            self._staged[line] = _Staged(assignment=assignment, bank=bank, prepared=prepared)
        return True

    def _in_memory(self, sha256: str) -> PreparedBank | None:
        with self._lock:
            held = [*self._current.values(), *self._previous.values()]
        return next((bank.prepared for bank in held if bank.bank_sha256 == sha256), None)

    def _wait_for_change(self) -> None:
        pause_s = POLL_S if self._db_up and self._complete else RETRY_S
        end_ns = self._clock.monotonic_ns() + int(pause_s * 1e9)
        while not self._ended.is_set() and self._clock.monotonic_ns() < end_ns:
            if self._heard() or self._rewatch.is_set():
                self._rewatch.clear()
                return

    def _heard(self) -> bool:
        """Whether one of our lines was announced, or announcements may have been missed."""
        if self._cache is None:
            self._ended.wait(LISTEN_S)
            return False
        try:
            if self._feed is None:
                self._feed = self._cache.subscribe()
                self._redis_up = True
                return True
            return bool(self._feed.poll(LISTEN_S) & self._lines)
        except CacheUnavailable:
            self._feed, self._redis_up = None, False
            self._ended.wait(LISTEN_S)
            return False

    def _note_error(self, line: int, error: str) -> None:
        with self._lock:
            known = self._errors.get(line)
            self._errors[line] = error
        if error != known:
            log.error("line %d cannot take its new bank: %s", line, error)

    # The scorer's thread, between batches

    def swap_in(
        self,
        prepare: Callable[[Any], PreparedBank],
        check: Callable[[PreparedBank], str | None],
    ) -> bool:
        """Put what is staged in charge; whether anything changed.

        prepare: moves a bank to the device, raising MismatchError for one of another encoder.
        check: the golden self-test; what it says (None: passed) refuses the bank.
        """
        with self._lock:
            staged, self._staged = self._staged, {}
        changed = [item for item in staged.values() if self._swap(item, prepare, check)]
        return bool(changed)

    def _swap(
        self,
        item: _Staged,
        prepare: Callable[[Any], PreparedBank],
        check: Callable[[PreparedBank], str | None],
    ) -> bool:
        line = item.assignment.line
        prepared = item.prepared or self._in_memory(item.assignment.bank_sha256)
        if prepared is None:
            try:
                prepared = prepare(item.bank)
            except MismatchError as error:
                self._note_error(line, str(error))
                return False
            failed = check(prepared)
            if failed is not None:
                self._note_error(line, failed)
                return False
        self._put_in_charge(item.assignment, prepared)
        return True

    def _put_in_charge(self, assignment: LineAssignment, prepared: PreparedBank) -> None:
        line = assignment.line
        bank = LineBank(
            line=line,
            product=assignment.product,
            bank_sha256=assignment.bank_sha256,
            revision=assignment.revision,
            thresholds=assignment.thresholds,
            prepared=prepared,
        )
        with self._lock:
            before = self._current.get(line)
            if before is not None and before.bank_sha256 != bank.bank_sha256:
                self._previous.pop(line, None)  # so that it stands last: the order is that of leaving charge
                self._previous[line] = before
            self._current = {**self._current, line: bank}
            self._errors.pop(line, None)
            self._make_room()
        log.info(
            "line %d scores with bank %s of %s (revision %d, threshold %.4g %s)",
            line,
            bank.bank_sha256[:12],
            bank.product,
            bank.revision,
            bank.thresholds.reject,
            bank.thresholds.state,
        )

    def _make_room(self) -> None:
        for line in lines_to_forget(self._current, self._previous, budget_bytes=self._budget_bytes):
            log.info("line %d's previous bank is dropped for want of room", line)
            del self._previous[line]
        said, self._complaint = self._complaint, too_large(self._current, budget_bytes=self._budget_bytes)
        if self._complaint is not None and said is None:
            log.warning("%s", self._complaint)

    # Any thread

    def current(self) -> Mapping[int, LineBank]:
        """What the lines score with; a later swap makes a new mapping and leaves this one alone."""
        return self._current

    def status(self) -> KeeperStatus:
        """The keeper's part of the heartbeat."""
        with self._lock:
            return KeeperStatus(
                redis_up=self._redis_up,
                db_up=self._db_up,
                loads=dict(self._fetch.loads),
                bytes_held=held_bytes([*self._current.values(), *self._previous.values()]),
                lines={
                    str(line): line_status(self._current.get(line), self._errors.get(line), db_up=self._db_up)
                    for line in sorted(self._lines)
                },
            )
