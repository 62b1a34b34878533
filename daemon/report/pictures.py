"""Pictures from the state folder into the page itself: shrunk, as JPEG in a data URI, or why there is none."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2

from core.errors import ImageError
from core.image import Image, decode_image

MAX_SIDE = 480
"""Pixels of the longer side: two of them fill a column of the page."""
MAX_TOTAL_BYTES = 6_000_000
"""Of all pictures of one report, before base64; beyond it a report would be too large to send around."""
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """A picture as a data URI, or None with `missing` saying why in a person's words."""

    uri: str | None
    missing: str | None = None


class PictureShelf:
    """Reads pictures under the state folder, up to a total size."""

    def __init__(self, state: Path) -> None:
        self._state = state.resolve()
        self._bytes = 0

    def inline(self, relative: str | None, *, absent: str) -> Inlined:
        """The picture of that path. absent: what to say where the row names none."""
        if relative is None:
            return Inlined(uri=None, missing=absent)
        path = (self._state / relative).resolve()
        if not path.is_relative_to(self._state):
            return Inlined(uri=None, missing="its path leads out of the state folder")
        try:
            picture = decode_image(path.read_bytes())
        except FileNotFoundError:
            return Inlined(uri=None, missing="its file is gone: removed by retention or by hand")
        except (OSError, ImageError) as error:
            return Inlined(uri=None, missing=f"its file cannot be read: {_why(error)}")
        return self._encoded(_shrunk(picture))

    def _encoded(self, picture: Image) -> Inlined:
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _QUALITY)
        if not ok or self._bytes + data.nbytes > MAX_TOTAL_BYTES:
            return Inlined(uri=None, missing="left out: the report's pictures are limited to 6 MB")
        self._bytes += data.nbytes
        return Inlined(uri=f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _shrunk(picture: Image) -> Image:
    height, width = picture.shape[:2]
    factor = MAX_SIDE / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    shrunk: Image = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype("uint8")
    return shrunk
