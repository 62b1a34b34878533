"""One benchmark result: a JSON line that says what was measured, against what, and on which machine."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NO_GPU = "no GPU used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """name, value and target as contract.md has them; `at_most` turns the comparison round.

    value: None where this machine cannot measure it; `detail` then says why. gpu: its name, where one was used.
    """

    name: str
    value: float | None
    target: float | None
    at_most: bool = False
    gpu: str = NO_GPU
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; without one there is nothing to miss. None: not measured."""
        if self.value is None:
            return None
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target

    def fields(self) -> dict[str, Any]:
        """What the JSON line says."""
        value = None if self.value is None else round(self.value, 4)
        said = {"name": self.name, "value": value, "target": self.target, "ok": self.ok}
        return {**said, "machine": f"{machine()}, {self.gpu}", "at": _today(), **self.detail}

    def line(self) -> str:
        """The JSON line."""
        return json.dumps(self.fields())


def machine() -> str:
    """Processor and cores, as a person would say it."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores"


def save(name: str, results: list[Result], folder: Path) -> Path:
    """Write a benchmark's results, with machine and date, to `folder/name.json`; an earlier file gives way."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps([result.fields() for result in results], indent=1) + "\n", encoding="utf-8")
    return path


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
