"""One trial over one class as it streams by: pixels go to disk, three numbers a picture stay in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import MetricsError
from core.evaluation.judges import Judge, Judged
from core.evaluation.options import ScoreMode, Trial
from core.evaluation.rows import Row
from core.inspection import Floats, paper_image_scores
from core.metrics import PixelAccumulator, PixelFigures, image_figures, vand_score

Mask = npt.NDArray[np.bool_]


class Tally:
    """Collects what a judge says of a class. Close it to free its disk space.

    spool: an empty folder for the maps; see `PixelAccumulator`.
    """

    def __init__(self, trial: Trial, judge: Judge, spool: Path) -> None:
        self.trial = trial
        self.judge = judge
        self._pixels = PixelAccumulator(spool)
        self._peaks: list[Floats] = []
        self._scores: list[Floats] = []
        self._text_scores: list[Floats] = []

    def add(self, judged: Judged, masks: Sequence[Mask], names: Sequence[str]) -> None:
        """Take in one batch: N pictures, their masks (S, S), and what errors call them.

        Raises MetricsError for a map that is not finite.
        """
        for anomaly_map, mask, name in zip(judged.maps, masks, names, strict=True):
            try:
                self._pixels.add(anomaly_map, mask)
            except MetricsError as error:
                raise MetricsError(f"{name}: {self.trial.method}: {error}") from error
        self._peaks.append(judged.maps.max(axis=(1, 2)))
        self._scores.append(judged.scores)
        if judged.text_scores is not None:
            self._text_scores.append(judged.text_scores)

    def image_scores(self, mode: ScoreMode) -> Floats:
        """(N,) of the pictures so far, in their order."""
        if mode == "streaming":
            return np.concatenate(self._scores)
        words = np.concatenate(self._text_scores) if self._text_scores else None
        return paper_image_scores(words, np.concatenate(self._peaks), few_shot=self.trial.shots > 0)

    def rows(self, object_class: str, labels: npt.NDArray[np.bool_]) -> list[Row]:
        """The finished class's rows, one a score mode. labels: (N,), which pictures have a defect."""
        pixels = self._pixels.figures()
        return [self._row(object_class, labels, pixels, mode) for mode in self.trial.score_modes]

    def close(self) -> None:
        """Delete the maps."""
        self._pixels.close()

    def _row(self, object_class: str, labels: npt.NDArray[np.bool_], pixels: PixelFigures, mode: ScoreMode) -> Row:
        image = image_figures(labels, self.image_scores(mode))
        return Row(
            object_class=object_class,
            shots=self.trial.shots,
            seed=self.trial.seed,
            method=self.trial.method,
            score_mode=mode,
            figures={
                "image_auroc": image.auroc,
                "image_f1_max": image.f1_max,
                "image_ap": image.ap,
                "pixel_auroc": pixels.auroc,
                "pixel_f1_max": pixels.f1_max,
                "pixel_ap": pixels.ap,
                "pro": pixels.pro,
                "pro_cflow200": pixels.pro_cflow200,
                "vand": vand_score([(image.f1_max, pixels.f1_max)]),
            },
        )
