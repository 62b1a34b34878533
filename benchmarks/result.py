"""One benchmark result: a JSON line that says what was measured, against what, and on which machine."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """name, value and target as contract.md has them; `at_most` turns the comparison round."""

    name: str
    value: float
    target: float | None
    at_most: bool = False
    detail: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the target is met; without one there is nothing to miss."""
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target

    def line(self) -> str:
        """The JSON line."""
        fields = {"name": self.name, "value": round(self.value, 4), "target": self.target, "ok": self.ok}
        return json.dumps({**fields, "machine": machine(), "at": _today(), **self.detail})


def machine() -> str:
    """Processor and cores, as a person would say it."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, no GPU used"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
