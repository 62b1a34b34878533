"""The absolute scale of a product's heatmaps, from the maps of its good parts. Pure.

Two questions, two statistics. Where colour begins is a question about pixels: what few of a good part's pixels
exceed. Where the outline begins is a question about parts: the hottest place of a good part, above which few of
them get. A quantile of pixels cannot answer the second: of the 150,000 pixels of a map a good part always has some
above it, and nearly every good part would be outlined somewhere (docs/notes/0014-looking.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COLD_QUANTILE = 0.995
"""Of the pixels of good parts: below it a heatmap shows the part itself."""
HOT_SPREADS = 1.0
"""Spreads of the good parts' hottest pixels above their mean."""
LEAST_WIDTH = 1e-3


def map_scale(maps: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """(cold, hot) of a pixel map, cold < hot.

    maps: (N, S, S) of good parts, each matched against a bank without it. inside: (S, S), the inspected pixels.
    """
    pixels = maps.reshape(len(maps), -1) if inside is None else maps[:, inside]
    hottest = pixels.max(axis=1)
    cold = float(np.quantile(pixels, COLD_QUANTILE))
    spread = hottest.std(ddof=1) if len(hottest) > 1 else 0.0
    hot = float(hottest.mean() + HOT_SPREADS * spread)
    return cold, max(hot, cold + LEAST_WIDTH)
