"""Logs to standard error: JSON lines for machines, text for people; floods are thinned and counted.

Secrets never come here: settings keep them in SecretStr, and nothing logs a URL.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

BURST = 10
WINDOW_S = 10.0
MAX_PLACES = 1000

# What every LogRecord carries; whatever else is on one came with `extra=` and belongs into the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "suppressed", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        suppressed = getattr(record, "suppressed", 0)
        if suppressed:
            line["suppressed"] = suppressed
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for a person at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        suppressed = getattr(record, "suppressed", 0)
        return f"{text} ({suppressed} more like this)" if suppressed else text


class FloodFilter(logging.Filter):
    """Lets `burst` records of one place through in each window; the next one says how many were cut.

    A place is a logger and a message template, so that frames with different keys count as one. Records
    of ERROR and above are thinned as well: a broken camera can fail a hundred times a second.
    """

    def __init__(
        self,
        *,
        burst: int = BURST,
        window_s: float = WINDOW_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst, self._window_s, self._monotonic = burst, window_s, monotonic
        self._places: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; sets `record.suppressed`."""
        place, now = (record.name, str(record.msg)), self._monotonic()
        opened, count = self._places.get(place, (now, 0))
        if now - opened >= self._window_s:
            record.suppressed = max(0, count - self._burst)
            opened, count = now, 0
        if len(self._places) > MAX_PLACES:
            self._places.clear()  # somebody formats before logging: rather forget than grow
        self._places[place] = (opened, count + 1)
        return count < self._burst


def configure(
    *,
    format: Literal["json", "text"],
    level: str,
    stream: TextIO | None = None,
) -> None:
    """Send the root logger's records to `stream` (standard error). Replaces what an earlier call set up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    handler.addFilter(FloodFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it announces every look at the revision
