"""What can be measured on one picture before any tower sees it: focus, light, colour, and its pattern. Pure.

The numbers mean little alone: how sharp or bright a picture is depends on the product. core.sample_findings
compares the samples of one product with each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from core.image import Image

Grey: TypeAlias = npt.NDArray[np.float32]

FINE, MIDDLE, COARSE = 1.0, 2.0, 8.0
"""Sigmas in pixels that part fine from coarse detail."""
CHROMA_SIDE = 32
PATTERN_SIDE = 128
PATTERN_COARSE = 4.0
COLOUR_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureTraits:
    """One picture in numbers.

    size: (H, W). sharpness: contrast of details of 1-2 px over that of 2-8 px, above 0; it hardly moves with light
    or sensor noise and falls with every blur. brightness: mean luma in 0..255. darkest, brightest: the luma that
    1 % of the pixels lie below and above. chroma: mean distance of a place's largest from its smallest channel,
    0..255; 0 is grey. red_minus_blue: five quantiles (COLOUR_QUANTILES) of that difference, -255..255.
    channel_spreads: standard deviation of R, G, B. pattern: (128 * 128,) float32, fine structure of the shrunk
    grey picture, mean 0, length 1 (0 for a picture without any), so that a dot product is a correlation.
    """

    size: tuple[int, int]
    sharpness: float
    brightness: float
    darkest: float
    brightest: float
    chroma: float
    red_minus_blue: tuple[float, ...]
    channel_spreads: tuple[float, float, float]
    pattern: Grey


def picture_traits(image: Image) -> PictureTraits:
    """Measure an (H, W, 3) uint8 RGB picture. About 10 ms a megapixel."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    darkest, brightest = np.quantile(grey[::2, ::2], (0.01, 0.99))
    height, width = grey.shape
    red, green, blue = image.reshape(-1, 3).std(axis=0)
    return PictureTraits(
        size=(height, width),
        sharpness=sharpness(grey),
        brightness=float(grey.mean()),
        darkest=float(darkest),
        brightest=float(brightest),
        chroma=_chroma(image),
        red_minus_blue=red_minus_blue(image),
        channel_spreads=(float(red), float(green), float(blue)),
        pattern=_pattern(grey),
    )


def sharpness(grey: Grey) -> float:
    """See PictureTraits. Of the directions across and down the less sharp one counts: motion blurs one of them.

    The finest band is left out: it is the sensor's noise, which no lens blurs.
    """
    return min(_detail(grey), _detail(np.ascontiguousarray(grey.T)))


def _detail(grey: Grey) -> float:
    """Of changes along the rows."""
    fine, middle, coarse = (
        cv2.GaussianBlur(grey, (2 * round(3 * sigma) + 1, 1), sigma) for sigma in (FINE, MIDDLE, COARSE)
    )
    # 0.05 levels: a picture without detail is neither sharp nor blurred
    return (float((fine - middle).std()) + 0.05) / (float((middle - coarse).std()) + 0.05)


def red_minus_blue(image: Image) -> tuple[float, ...]:
    """Five quantiles of R - B. Exchanging red and blue negates them and turns their order."""
    difference = image[::2, ::2, 0].astype(np.int16) - image[::2, ::2, 2]
    return tuple(float(value) for value in np.quantile(difference, COLOUR_QUANTILES))


def _chroma(image: Image) -> float:
    """Of the shrunk picture: the sensor's noise is of every colour."""
    small = cv2.resize(image, (CHROMA_SIDE, CHROMA_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float((small.max(axis=2) - small.min(axis=2)).mean())


def _pattern(grey: Grey) -> Grey:
    small = cv2.resize(grey, (PATTERN_SIDE, PATTERN_SIDE), interpolation=cv2.INTER_AREA)
    fine = (small - cv2.GaussianBlur(small, (0, 0), PATTERN_COARSE)).ravel()
    fine -= fine.mean()
    length = math.sqrt(float(fine @ fine))
    return np.asarray(fine / length if length > 1.0 else np.zeros_like(fine), np.float32)
