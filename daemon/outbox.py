"""The outbox: a journal of frames and verdicts in SQLite, durable before anything is acknowledged.

`pending` holds the frames that have no verdict yet, `verdicts` every verdict in the order it was committed;
`position` is that order. What SQL has is one number, `recorded_up_to`. Recorded verdicts are kept a while to
answer replays, and longer where an output has not delivered them yet. One process writes (`Outbox`); the
recorder and the outputs read through connections of their own (`OutboxReader`).
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from daemon.fields import fields_of
from daemon.flow import Frame, Identity, Verdict
from daemon.verdicts import from_text, to_text

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
    key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, received_at TEXT NOT NULL, identity TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (
    position INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, decided_at TEXT NOT NULL,
    verdict TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS recorded (one INTEGER PRIMARY KEY CHECK (one = 1), up_to INTEGER NOT NULL);
INSERT OR IGNORE INTO recorded VALUES (1, 0);
"""
_FORMAT = 1
_LAST_POSITION = "SELECT COALESCE(MAX(position), 0) FROM verdicts"
_OLDEST_POSITION = "SELECT COALESCE(MIN(position), 0) FROM verdicts"
_BUSY_TIMEOUT_S = 5.0
PRUNE_ROWS = 2000
"""The most rows that one commit forgets: four times what the recorder moves between two, about 5 ms."""


class OutboxUnavailable(Exception):
    """The journal cannot be written or read now: disk full, file locked or damaged. Nothing was changed."""


class OutboxInUse(Exception):
    """Another process writes this outbox."""


class StoredVerdict(NamedTuple):
    """A verdict and its place in the order of commits."""

    position: int
    verdict: Verdict


class Backlog(NamedTuple):
    """Verdicts that wait for SQL; bytes of the journal on disk; when the oldest of them was decided."""

    rows: int
    bytes_used: int
    oldest: datetime | None


class Outbox:
    """The one writer. Not thread-safe: it belongs to the ingress loop.

    keep_rows: recorded verdicts that stay for replays. held_after: the position up to which every output has
    them, None without outputs; what lies behind it stays too, up to max_rows in all.

    Raises OutboxInUse if another process has it open, OutboxUnavailable if the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_rows: int = 100_000,
        max_rows: int = 1_000_000,
        held_after: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._keep_rows = keep_rows
        self._max_rows = max_rows
        self._held_after = held_after
        self._files = (path, path.with_name(path.name + "-wal"))
        self._lock = _take_lock(path.with_suffix(".lock"))
        try:
            self._connection = _open_for_writing(path)
        except OutboxUnavailable:
            self._lock.close()
            raise
        self._up_to = _number(self._connection, "SELECT up_to FROM recorded")
        self._last = max(self._up_to, _number(self._connection, _LAST_POSITION))

    @property
    def recorded_up_to(self) -> int:
        """The position up to which SQL has every verdict."""
        return self._up_to

    @property
    def unrecorded(self) -> int:
        """How many verdicts wait for SQL."""
        return self._last - self._up_to

    def pending(self) -> list[Frame]:
        """Frames without a verdict, in order of receipt: at start, those an earlier life left behind.

        Raises OutboxUnavailable.
        """
        query = "SELECT key, sha256, received_at, identity FROM pending ORDER BY received_at, key"
        try:
            return [_frame(*row) for row in self._connection.execute(query)]
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error

    def find(self, key: str) -> Verdict | None:
        """The verdict of that key, or None where there is none (or no longer one). Raises OutboxUnavailable."""
        try:
            row = self._connection.execute("SELECT verdict FROM verdicts WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error
        return None if row is None else from_text(row[0])

    def commit(
        self,
        *,
        pending: Sequence[Frame] = (),
        verdicts: Sequence[Verdict] = (),
        recorded_up_to: int = 0,
        probe: bool = False,
    ) -> None:
        """One durable transaction: new frames, new verdicts (their pending rows go), and what SQL has by now.

        A frame that is decided in the same turn it came needs no pending row. The first verdict of a key
        stands. probe: write something in any case, to learn whether that works. Raises OutboxUnavailable, and
        then nothing has changed.
        """
        decided = {verdict.key for verdict in verdicts}
        up_to = max(self._up_to, min(recorded_up_to, self._last))
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._insert_pending([frame for frame in pending if frame.key not in decided])
                self._insert_verdicts(verdicts)
                if up_to > self._up_to or probe:
                    self._mark(up_to)
                last = _number(self._connection, _LAST_POSITION)
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot write the outbox: {error}") from error
        self._up_to, self._last = up_to, max(self._last, last)

    def backlog(self) -> Backlog:
        """What waits for SQL. Raises OutboxUnavailable."""
        query = "SELECT decided_at FROM verdicts WHERE position > ? ORDER BY position LIMIT 1"
        try:
            row = self._connection.execute(query, (self._up_to,)).fetchone()
            size = sum(file.stat().st_size for file in self._files if file.exists())
        except (sqlite3.Error, OSError) as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error
        oldest = None if row is None else datetime.fromisoformat(row[0])
        return Backlog(rows=self.unrecorded, bytes_used=size, oldest=oldest)

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._connection.close()
        self._lock.close()

    def _insert_pending(self, frames: Sequence[Frame]) -> None:
        rows = [
            (frame.key, frame.sha256, frame.received_at.isoformat(), _identity_text(frame.identity))
            for frame in frames
        ]
        self._connection.executemany("INSERT INTO pending VALUES (?, ?, ?, ?)", rows)

    def _insert_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        self._connection.executemany(
            "INSERT INTO verdicts (key, decided_at, verdict) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
            [(verdict.key, verdict.decided_at.isoformat(), to_text(verdict)) for verdict in verdicts],
        )
        self._connection.executemany("DELETE FROM pending WHERE key = ?", [(verdict.key,) for verdict in verdicts])

    def _mark(self, up_to: int) -> None:
        self._connection.execute("UPDATE recorded SET up_to = ?", (up_to,))
        oldest = _number(self._connection, _OLDEST_POSITION)
        forget = forgettable(
            up_to=up_to,
            last=self._last,
            keep_rows=self._keep_rows,
            max_rows=self._max_rows,
            held_after=self._held_after(),
        )
        bound = min(forget, oldest + PRUNE_ROWS - 1)
        self._connection.execute("DELETE FROM verdicts WHERE position <= ?", (bound,))


def forgettable(*, up_to: int, last: int, keep_rows: int, max_rows: int, held_after: int | None) -> int:
    """The position up to which verdicts may be forgotten. Pure.

    The one at `held_after` itself stays: as long as an output finds it, it knows that nothing after it is gone.
    """
    recorded = up_to - keep_rows
    if held_after is None:
        return recorded
    return min(recorded, max(held_after - 1, last - max_rows))


class OutboxReader:
    """A read-only view, for the recorder and the outputs. It belongs to the thread that uses it first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def recorded_up_to(self) -> int:
        """The mark that the last life left. Raises OutboxUnavailable."""
        try:
            return _number(self._opened(), "SELECT up_to FROM recorded")
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error

    def after(self, position: int, *, limit: int) -> list[StoredVerdict]:
        """The next verdicts in order of commit. Raises OutboxUnavailable."""
        query = "SELECT position, verdict FROM verdicts WHERE position > ? ORDER BY position LIMIT ?"
        try:
            rows = self._opened().execute(query, (position, limit)).fetchall()
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error
        return [StoredVerdict(position, from_text(text)) for position, text in rows]

    def extent(self) -> tuple[int, int]:
        """The oldest position that is kept (0: none) and the last that was given. Raises OutboxUnavailable."""
        try:
            oldest, last = (_number(self._opened(), query) for query in (_OLDEST_POSITION, _LAST_POSITION))
            return oldest, max(last, self.recorded_up_to())
        except sqlite3.Error as error:
            raise OutboxUnavailable(f"cannot read the outbox: {error}") from error

    def close(self) -> None:
        """Close the connection, from the thread that used it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S
            )
        return self._connection


def _open_for_writing(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        found = _number(connection, "PRAGMA user_version")
        if found not in (0, _FORMAT):
            raise OutboxUnavailable(f"expected outbox format {_FORMAT} in {path}, got {found}")
        connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_FORMAT};")
    except (sqlite3.Error, OutboxUnavailable) as error:
        connection.close()
        raise OutboxUnavailable(f"cannot open the outbox {path}: {error}") from error
    return connection


def _take_lock(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise OutboxInUse(f"{path} is locked: another daemon writes this outbox") from error
    return lock


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _identity_text(identity: Identity) -> str:
    return json.dumps(fields_of(identity), default=datetime.isoformat, separators=(",", ":"))


def _frame(key: str, sha256: str, received_at: str, identity: str) -> Frame:
    """A stored frame. Its monotonic times are gone with the life that took them, so they are 0."""
    fields = json.loads(identity)
    if fields["captured_at"] is not None:
        fields["captured_at"] = datetime.fromisoformat(fields["captured_at"])
    return Frame(
        key=key,
        identity=Identity(**fields),
        sha256=sha256,
        received_at=datetime.fromisoformat(received_at),
        received_ns=0,
        deadline_ns=0,
    )
