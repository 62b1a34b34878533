"""Messages that the other end would not take, for a person to look at: JSON lines in the state folder."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from daemon.flow import Verdict
from daemon.outputs.cursor import FOLDER

MAX_BYTES = 4 * 1024 * 1024
"""Of the file in use; one older of the same size is kept."""


class DeadLetters:
    """`STATE/outputs/<sink>.refused.jsonl`."""

    def __init__(self, state: Path, sink: str) -> None:
        self.path = state / FOLDER / f"{sink}.refused.jsonl"

    def add(self, verdict: Verdict, *, why: str, at: datetime) -> None:
        """Append, durably. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size >= MAX_BYTES:
            os.replace(self.path, self.path.with_suffix(".jsonl.1"))
        line = json.dumps({"at": at.isoformat(), "why": why, "verdict": verdict.public()}, separators=(",", ":"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
