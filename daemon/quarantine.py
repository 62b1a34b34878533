"""Frames that broke the scorer, kept for whoever repairs it: the camera's bytes and what is known of them.

Bounded in number and in bytes (fifty raw frames of 12 MP would be 1.9 GB): the oldest go. A disk that refuses
costs the specimen, never the verdict.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from daemon.setting_sections import MIB
from daemon.work import QueuedFrame

log = logging.getLogger(__name__)

FOLDER = "quarantine"
KEEP = 50
KEEP_BYTES = 512 * MIB


class Quarantine:
    """`STATE/quarantine/<digest>.bin` with a `.json` beside each, at most `keep` frames of `keep_bytes` in all.

    The newest stays whatever its size.
    """

    def __init__(self, state: Path, *, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self._folder = state / FOLDER
        self._keep = keep
        self._keep_bytes = keep_bytes

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
        kept_bytes = 0
        for age, path in enumerate(sorted(self._folder.glob("*.bin"), key=_written_ns, reverse=True)):
            kept_bytes += path.stat().st_size
            if age > 0 and (age >= self._keep or kept_bytes > self._keep_bytes):
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)


def _written_ns(path: Path) -> int:
    return path.stat().st_mtime_ns
