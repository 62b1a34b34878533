"""From the exact histogram of one bucket of scores to its piece of the threshold curve. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a set of pixels holds: good ones, defective ones, and the sum over regions of their shares in it."""

    good: int
    defective: int
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurvePiece:
    """K thresholds, falling: every score of a bucket that a defective pixel has. All fields (K,).

    Other scores change no more than the number of false detections, so between two thresholds the curves of
    precision need no point, and that of overlap runs level from `false` of one to `false_above` of the next.

    false_above, false: good pixels above the threshold, and at or above it. hits: defective pixels at or above it,
    of which hits_at lie at it. overlap, overlap_before: sum over regions of the share found, at this threshold
    and at the one before it.
    """

    false_above: Counts
    false: Counts
    hits: Counts
    hits_at: Counts
    overlap: Floats
    overlap_before: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreBucket:
    """The histogram of a bucket. good, defective, overlap: (PLACES,), in the order of the scores.

    above: all pixels of higher buckets. overlap holds each defective pixel as one over its region's size.
    """

    number: int
    above: Totals
    good: Counts
    defective: Counts
    overlap: Floats

    def curve(self) -> CurvePiece:
        """The thresholds in this bucket."""
        places = np.flatnonzero(self.defective > 0)[::-1]
        hits_at, gained = self.defective[places], self.overlap[places]
        up_to = self.good.cumsum()
        false_above = self.above.good + up_to[-1] - up_to[places]
        overlap = self.above.overlap + gained.cumsum()
        return CurvePiece(
            false_above=false_above,
            false=false_above + self.good[places],
            hits=self.above.defective + hits_at.cumsum(),
            hits_at=hits_at,
            overlap=overlap,
            overlap_before=np.concatenate([[self.above.overlap], overlap[:-1]]),
        )

    def strictly_above(self, place: int) -> Totals:
        """All pixels with a score above the one at `place`."""
        return Totals(
            good=self.above.good + int(self.good[place + 1 :].sum()),
            defective=self.above.defective + int(self.defective[place + 1 :].sum()),
            overlap=self.above.overlap + float(self.overlap[place + 1 :].sum()),
        )
