"""The contact sheet as one self-contained HTML page: no file beside it, no script, nothing from a network."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2

from core.image import Image
from daemon.admin.contact_sheet import ContactSheet

JPEG_OPTIONS = (cv2.IMWRITE_JPEG_QUALITY, 88)
WIDTH = 960.0
MARGIN = 0.04
"""Of the range that the scores and thresholds span, on both sides of the strip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A score on the strip. x: in its units. lane: 0 is the axis, counted upward. label: number of a reference."""

    x: float
    lane: int
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Scores on one axis. references, others: dots. reject, review: x; review None where there is no band."""

    references: tuple[Dot, ...]
    others: tuple[Dot, ...]
    reject: float
    review: float | None
    ticks: tuple[tuple[float, str], ...]


def page_bytes(sheet: ContactSheet) -> bytes:
    """The whole page, UTF-8."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("daemon.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inlined"] = inlined
    template = environment.get_template("contact_sheet.html.j2")
    return template.render(sheet=sheet, strip=strip(sheet), width=WIDTH).encode()


def inlined(image: Image) -> str:
    """An (H, W, 3) uint8 RGB picture as a data URI."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG_OPTIONS)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def strip(sheet: ContactSheet) -> Strip:
    """Where every score lies on the axis. Pure."""
    promise = sheet.promise
    values = [*sheet.scores, *sheet.calibration_scores, promise.reject, promise.review]
    low, high = min(values), max(values)
    pad = max(high - low, 1e-6) * MARGIN
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(WIDTH * (value - low) / (high - low), 1)

    numbered = len(sheet.scores) == len(sheet.tiles)
    labels = [str(index + 1) if numbered else None for index in range(len(sheet.scores))]
    return Strip(
        references=stacked([(x(score), label) for score, label in zip(sheet.scores, labels, strict=True)], 20.0),
        others=stacked([(x(score), None) for score in sheet.calibration_scores], 7.0),
        reject=x(promise.reject),
        review=None if promise.review == promise.reject else x(promise.review),
        ticks=tuple((x(value), f"{value:g}") for value in _round_values(low, high)),
    )


def stacked(dots: list[tuple[float, str | None]], width: float) -> tuple[Dot, ...]:
    """Dots of one width side by side: one that would cover another goes a lane up. Pure."""
    ends: list[float] = []
    placed = []
    for x, label in sorted(dots, key=lambda dot: dot[0]):
        lane = next((lane for lane, end in enumerate(ends) if x - end >= width), len(ends))
        ends[lane : lane + 1] = [x]
        placed.append(Dot(x=x, lane=lane, label=label))
    return tuple(placed)


def _round_values(low: float, high: float) -> list[float]:
    """Some five round numbers within the range."""
    step = next(
        (step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if (high - low) / step <= 8), high - low
    )
    first = int(low // step) + 1
    return [round(index * step, 6) for index in range(first, int(high // step) + 1)]
