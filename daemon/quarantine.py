"""Frames that broke the scorer, kept for whoever repairs it: the camera's bytes and what is known of them.

Bounded: the oldest go. A disk that refuses costs the specimen, never the verdict.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from daemon.work import QueuedFrame

log = logging.getLogger(__name__)

FOLDER = "quarantine"
KEEP = 50


class Quarantine:
    """`STATE/quarantine/<digest>.bin` with a `.json` beside each, at most `keep` frames."""

    def __init__(self, state: Path, *, keep: int = KEEP) -> None:
        self._folder = state / FOLDER
        self._keep = keep

    def put(self, frame: QueuedFrame, error: str) -> None:
        """Keep a frame and the error it caused."""
        name = hashlib.sha256(frame.header.key.encode()).hexdigest()[:32]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{name}.bin").write_bytes(frame.payload)
            about = {"header": asdict(frame.header), "error": error}
            (self._folder / f"{name}.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
            self._prune()
        except OSError as problem:
            log.warning("frame %s could not be quarantined: %s", frame.header.key, problem)

    def _prune(self) -> None:
        by_age = sorted(self._folder.glob("*.bin"), key=lambda path: path.stat().st_mtime_ns)
        for path in by_age[: -self._keep]:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
