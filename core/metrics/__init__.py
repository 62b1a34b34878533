"""The field's figures (method.md, "Metrics"): AUROC, AP and F1-max of images and of pixels, and two forms of PRO.

Exact: thresholds are all the scores there are, never a grid of them. A detection is a score at or above the
threshold. A figure that cannot be told is None, never 0 or NaN (docs/notes/0008-metrics.md has the table).

The files here know no data set, no method and no table.
"""

from __future__ import annotations

from core.metrics.image_level import ImageFigures, image_figures
from core.metrics.pixel_level import PixelAccumulator, PixelFigures
from core.metrics.vand import vand_score

__all__ = ["ImageFigures", "PixelAccumulator", "PixelFigures", "image_figures", "vand_score"]
