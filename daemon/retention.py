"""Deletes pictures by class: after so many days, beyond so many bytes, and while the disk is short of space.

Row first, file second: a row never names a picture that is gone, and what a kill leaves between the two is a
file that no row names, which the sweep finds. A held part is left alone, whatever happens. Work comes in small
steps, so that nobody else waits for the disk or for SQL.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.decide import Decision
from daemon import picture_rows
from daemon.database import Database
from daemon.observer import Observer
from daemon.orphans import discard
from daemon.picture_rows import PictureRow
from daemon.setting_sections import MIB, RetentionSettings
from daemon.storage import CLASSES

log = logging.getLogger(__name__)

STEP_ROWS = 200
"""Rows that one step looks at; about 5 ms of SQL."""
STEP_PARTS = 50
"""Parts whose pictures one step deletes."""
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
"""Not now: a clock that was set back leaves parts of the future."""
AGAIN = timedelta(hours=1)
"""How often the oldest are looked at anew: holds may have been released.

Also where the clock was set back: what is decided from then on lies before what was looked at.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one class may keep. age, size: None for no limit; size in bytes."""

    age: timedelta | None
    size: int | None


def rules(settings: RetentionSettings) -> Mapping[Decision, Rule]:
    """The settings by class; 0 stands for no limit. Pure."""
    written = {
        Decision.ACCEPT: (settings.accept_days, settings.accept_mb),
        Decision.REVIEW: (settings.review_days, settings.review_mb),
        Decision.REJECT: (settings.reject_days, settings.reject_mb),
    }
    return {
        decision: Rule(age=timedelta(days=days) if days else None, size=mb * MIB if mb else None)
        for decision, (days, mb) in written.items()
    }


def due_before(rule: Rule, *, now: datetime, held_bytes: int, pressed: bool) -> datetime | None:
    """Parts decided before this give their pictures up, the oldest first; None where none has to. Pure.

    held_bytes: what the class has on disk. pressed: the disk needs the space.
    """
    if pressed or (rule.size is not None and held_bytes > rule.size):
        return END_OF_TIME
    return None if rule.age is None else now - rule.age


class Retention:
    """One step at a time, on one thread. `held_bytes` may be read from any."""

    def __init__(self, *, state: Path, database: Database, observer: Observer) -> None:
        self._state = state
        self._database = database
        self._observer = observer
        self._counted_id = 0
        self._begun_at: datetime | None = None
        self._marks: dict[Decision, PictureRow | None] = {}
        self.held_bytes: Counter[str] = Counter()

    def count(self) -> bool:
        """Measure the pictures of parts that are new to us; whether there may be more. Raises as `step`."""
        rows = picture_rows.arrived(self._database, self._counted_id, limit=STEP_ROWS)
        for row in rows:
            self.held_bytes[row.decision] += sum(self._size(path) for path in row.paths)
            self._counted_id = row.id
        return len(rows) == STEP_ROWS

    def step(self, settings: RetentionSettings, *, now: datetime, giving_way: tuple[Decision, ...] = ()) -> bool:
        """Delete what is due of the first class that has something; whether there may be more.

        giving_way: classes that must make room. Raises RecordsUnavailable.
        """
        if self._begun_at is None or not self._begun_at <= now <= self._begun_at + AGAIN:
            self._begun_at, self._marks = now, {}
        for decision, rule in rules(settings).items():
            size, pressed = self.held_bytes[decision], decision in giving_way
            before = due_before(rule, now=now, held_bytes=size, pressed=pressed)
            surplus = size - rule.size if rule.size is not None and size > rule.size and not pressed else None
            if before is not None and self._delete_some(decision, before, surplus):
                return True
        return False

    def _delete_some(self, decision: Decision, before: datetime, surplus: int | None) -> bool:
        """One step in one class; whether it did anything. surplus: bytes that are enough."""
        rows = picture_rows.oldest(self._database, decision, self._marks.get(decision), limit=STEP_ROWS)
        due = [row for row in rows if row.decided_at < before]
        candidates = [row for row in due if row.paths and not row.hold]
        victims = self._enough(candidates[:STEP_PARTS], surplus)
        if victims:
            self._delete(victims)
        if due:
            # whoever lies before the last victim has no pictures or is held
            self._marks[decision] = due[-1] if len(victims) == len(candidates) else victims[-1]
        return bool(due)

    def _enough(self, candidates: list[PictureRow], surplus: int | None) -> list[PictureRow]:
        """As many of them, from the oldest, as hold `surplus` bytes; all where it is None."""
        victims: list[PictureRow] = []
        freed = 0
        for row in candidates:
            if surplus is not None and freed >= surplus:
                break
            victims.append(row)
            freed += sum(self._size(path) for path in row.paths)
        return victims

    def _delete(self, victims: list[PictureRow]) -> None:
        emptied = picture_rows.empty(self._database, [row.id for row in victims])
        for row in victims:
            if row.id not in emptied:
                continue
            size = sum(self._size(path) for path in row.paths)
            if row.id <= self._counted_id:
                self.held_bytes[row.decision] -= size
            for path in row.paths:
                discard(self._state, path)
            self._observer.retention_deleted(row.decision, len(row.paths))

    def _size(self, path: str) -> int:
        try:
            return (self._state / path).stat().st_size
        except OSError:
            return 0


def class_bytes(held: Mapping[str, int]) -> dict[str, int]:
    """Bytes of pictures by class, each class named."""
    return {decision.value: max(0, held.get(decision, 0)) for decision in CLASSES}
