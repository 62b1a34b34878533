"""Heatmap pictures: the frame with its anomaly map laid over it, on the product's own fixed scale.

The scale is absolute (the bank's `map_scale`, from good parts), never the frame's own range: a good part
stays cold, however its noise happens to spread. The colours are OpenCV's inferno, which grows in
lightness and so reads in grey and for colour-blind eyes. A warm region that somewhere leaves the scale is
outlined as a whole, white between black so that it stands out on any part, and inside the outline the part shows
through: a person looks for the defect there.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import numpy.typing as npt

from core.image import Image
from daemon.durable import write_durably
from daemon.work import Map

FOLDER = "heatmaps"
MAX_SIDE = 1024
"""Pixels of the longer side of a picture; larger frames are shrunk."""
MAX_OPACITY = 0.6
"""Of the warmest pixel that is not outlined."""
INSIDE_OPACITY = 0.25
CONTOUR_RGB = (255, 255, 255)
EDGE_RGB = (0, 0, 0)
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)
"""Level 1: a heatmap is read once and written thousands of times."""


def overlay(image: Image, anomaly_map: Map, scale: tuple[float, float]) -> Image:
    """The frame under its map: (H, W, 3) uint8 RGB at the frame's own size, at most 1024 px a side.

    image: (H, W, 3) uint8 RGB. anomaly_map: (S, S) of the squashed frame; what is not finite shows hot.
    scale: the map's (cold, hot) values. Opacity grows with heat, so that a good part shows itself.
    """
    low, high = scale
    if not high > low:
        raise ValueError(f"expected a scale that grows, got {scale}")
    picture = _shrunk(image)
    height, width = picture.shape[:2]
    finite = np.nan_to_num(anomaly_map.astype(np.float32), nan=high * 2 + 1, posinf=high * 2 + 1, neginf=low)
    values = cv2.resize(finite, (width, height), interpolation=cv2.INTER_LINEAR)
    heat = np.clip((values - low) / (high - low), 0.0, 1.0)
    colours = cv2.cvtColor(
        cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    outlined = _suspect(values, low, high)
    opacity = np.where(outlined, INSIDE_OPACITY, heat * MAX_OPACITY).astype(np.float32)[..., None]
    blended = (picture * (1 - opacity) + colours * opacity).astype(np.uint8)
    return _outlined(blended, outlined)


def heatmap_path(line: int, key: str, day: date) -> str:
    """Where the heatmap of a frame lies, relative to the state folder."""
    return f"{FOLDER}/{line}/{day.isoformat()}/{_file_name(key)}"


def write_heatmap(state: Path, relative: str, picture: Image) -> None:
    """Write the PNG so that it is whole and durable or not there: tmp, fsync, rename, fsync of the folder.

    picture: (H, W, 3) uint8 RGB. Raises OSError.
    """
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), PNG_OPTIONS)
    if not ok:
        raise OSError(f"cannot encode a picture of shape {picture.shape} as PNG")
    write_durably(state / relative, data.tobytes())


def _file_name(key: str) -> str:
    # Keys are `camera:boot:seq` or a ULID, both checked at ingress. Quoting is one to one, and leaves no
    # character that could lead out of the folder.
    return quote(key, safe=":") + ".png"


def _shrunk(image: Image) -> Image:
    height, width = image.shape[:2]
    factor = MAX_SIDE / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _suspect(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.bool_]:
    """The connected regions above `low` that reach above `high` somewhere: hysteresis, as with Canny."""
    count, labels = cv2.connectedComponents((values > low).astype(np.uint8))
    reaches = np.zeros(count, np.bool_)
    reaches[labels[values > high]] = True
    return np.asarray(reaches[labels])


def _outlined(picture: Image, region: npt.NDArray[np.bool_]) -> Image:
    """The picture with a line around each region, outside of it."""
    thickness = max(1, round(max(picture.shape[:2]) / 400))
    around = cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=thickness + 1)
    contours, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn = np.ascontiguousarray(picture)
    for colour, width in ((EDGE_RGB, thickness + 2), (CONTOUR_RGB, thickness)):
        cv2.drawContours(drawn, contours, -1, colour, width)
    return drawn
