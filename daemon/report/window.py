"""A window of time, cut into buckets whose edges a person would choose: full minutes, hours, days. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

MAX_BUCKETS = 72
_WIDTHS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86_400 * days for days in (1, 2, 7, 14, 28)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`start <= t < end`, both aware. The zone of `start` is the one that people read times in.

    Raises ValueError unless start < end.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(f"expected a window that ends after it begins, got {self.start} to {self.end}")

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()

    def width_s(self, most: int) -> int:
        """The smallest of the usual widths that cuts the window into at most `most` pieces. Seconds."""
        fitting = (width for width in _WIDTHS_S if self.seconds / width <= most - 1)
        return next(fitting, math.ceil(self.seconds / (most - 1)))

    def multiples(self, width_s: int) -> list[datetime]:
        """The instants within the window, in UTC, that are a multiple of the width after local midnight."""
        width = timedelta(seconds=width_s)
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        first = midnight + width * ((self.start - midnight) // width + 1)
        return [first + width * index for index in range(math.ceil((self.end - first) / width))]

    @property
    def bucket_s(self) -> int:
        """How long a bucket is."""
        return self.width_s(MAX_BUCKETS)

    def buckets(self) -> Iterator[tuple[datetime, datetime]]:
        """Each bucket's (start, end) in UTC; the first and the last may be shorter."""
        inner = self.multiples(self.bucket_s)
        return pairwise([self.start.astimezone(UTC), *inner, self.end.astimezone(UTC)])

    def position(self, at: datetime) -> float:
        """Where an instant lies, 0 at the start, 1 at the end, not beyond."""
        return min(1.0, max(0.0, (at - self.start) / (self.end - self.start)))
