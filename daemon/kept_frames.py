"""Camera pictures that are kept: of decisions that a person will want to look at, and a sample of the accepted.

A JPEG or PNG is kept as the camera sent it, so its sha256 is the verdict's `frame_sha256`; raw frames become
lossless PNG. Either way scoring the file again gives the score of the verdict.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import cv2

from core.decide import Decision
from daemon.durable import write_durably
from daemon.flow import Encoding
from daemon.work import Image, QueuedFrame

FOLDER = "frames"
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(slots=True, kw_only=True)
class KeepRule:
    """Which pictures are kept. Not thread-safe: it counts the accepted parts of each line.

    decisions: kept always. accept_every: of the accepted parts of a line every so-manieth, 0 for none; they are
    what `calibrate --accepted-since` draws from, so they are taken by count and never by score.
    """

    decisions: frozenset[str]
    accept_every: int
    _accepted: Counter[int]

    @classmethod
    def of(cls, decisions: frozenset[str], accept_every: int) -> KeepRule:
        """A rule that has counted nothing yet."""
        return cls(decisions=decisions, accept_every=accept_every, _accepted=Counter())

    def keeps(self, line: int, decision: str) -> bool:
        """Whether the picture of a part with this decision is kept; counts the part."""
        if decision != Decision.ACCEPT:
            return decision in self.decisions
        self._accepted[line] += 1
        due = self.accept_every > 0 and self._accepted[line] % self.accept_every == 0
        return due or decision in self.decisions


def frame_path(line: int, key: str, encoding: str, day: date) -> str:
    """Where a frame's picture lies, relative to the state folder."""
    return f"{FOLDER}/{line}/{day.isoformat()}/{quote(key, safe=':')}{picture_suffix(encoding)}"


def picture_suffix(encoding: str) -> str:
    """What the file of a frame of this encoding ends in."""
    return ".jpg" if encoding == Encoding.JPEG else ".png"


def picture_bytes(frame: QueuedFrame) -> bytes:
    """The frame as a picture file: the camera's own bytes, or a raw frame as PNG. Raises OSError."""
    if frame.header.encoding != Encoding.RAW:
        return bytes(frame.payload)
    return png_bytes(frame.image)


def png_bytes(image: Image) -> bytes:
    """An (H, W, 3) uint8 RGB picture as PNG. Raises OSError."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PNG_OPTIONS)
    if not ok:
        raise OSError(f"cannot encode a picture of shape {image.shape} as PNG")
    return bytes(data.tobytes())


def write_frame(state: Path, relative: str, frame: QueuedFrame) -> None:
    """Write the picture so that it is whole and durable or not there. Raises OSError."""
    write_durably(state / relative, picture_bytes(frame))
