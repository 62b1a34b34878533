"""What SQL last said of the lines, in a file: a worker that starts while SQL is down goes on inspecting.

SQL is asked first and wins whenever it answers; this file is read only while it has not answered yet.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from core.decide import Thresholds, ThresholdState
from core.errors import CalibrationError
from daemon.durable import write_durably
from daemon.record_rows import LineAssignment

log = logging.getLogger(__name__)

FILE = "banks/known-lines.json"


def remember_lines(state: Path, assignments: Sequence[LineAssignment]) -> None:
    """Keep the assignments. A disk that refuses is only a warning."""
    data = json.dumps([assignment.public() for assignment in assignments], indent=1).encode()
    try:
        write_durably(state / FILE, data)
    except OSError as error:
        log.warning("the lines' assignments could not be kept in %s: %s", FILE, error)


def recall_lines(state: Path) -> list[LineAssignment]:
    """The assignments kept last; none where there is no file that can be read."""
    try:
        return [_assignment(row) for row in json.loads((state / FILE).read_bytes())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, CalibrationError) as error:
        log.warning("%s cannot be read and is not used: %s", FILE, error)
        return []


def _assignment(row: dict[str, Any]) -> LineAssignment:
    """The inverse of `LineAssignment.public`."""
    return LineAssignment(
        line=row["line"],
        product=row["product"],
        bank_sha256=row["bank"],
        bank_path=row["bank_path"],
        thresholds=Thresholds(
            reject=row["reject"],
            review=row["review"],
            state=ThresholdState(row["threshold_state"]),
            max_false_rejects=row.get("max_false_rejects"),
            max_reviews=row.get("max_reviews"),
        ),
        revision=row["revision"],
        updated_at=datetime.fromisoformat(row["updated_at"]),
    )
