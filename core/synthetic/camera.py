"""What stands between a surface and its file: light, lens, sensor, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from core.synthetic import noise
from core.synthetic.noise import Field, Picture

T = TypeVar("T", np.uint8, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """One exposure.

    light: (S, S, 1) around 1. blur: sigma in pixels. contrast: share of the range that is kept.
    sensor_noise: sd in 0..1. pixels: a side of the sensor, at most the picture's. quality: of JPEG, None for none.
    """

    light: Picture
    blur: float
    contrast: float
    sensor_noise: float
    pixels: int
    quality: int | None

    @classmethod
    def set_up(cls, look: np.random.Generator, rng: np.random.Generator, size: int) -> Camera:
        """A product's camera (look), with this exposure's small differences (rng)."""
        direction, slope = look.uniform(0, 2 * np.pi), look.uniform(0, 0.3) * look.random()
        gain = rng.normal(1, 0.02)
        light = gain * (1 + (slope + rng.normal(0, 0.01)) * _ramp(size, direction))
        return cls(
            light=np.asarray(light[..., None], np.float32),
            blur=float(look.choice([0.0, 0.5, 0.8, 1.2]) * noise.unit(size) * rng.uniform(0.8, 1.2)),
            contrast=float(look.uniform(0.6, 1.0)),
            sensor_noise=float(look.uniform(0, 0.03) * look.random()),
            pixels=round(size * (look.uniform(0.45, 1.0) if look.random() < 0.5 else 1.0)),
            quality=int(look.integers(60, 99)) if look.random() < 0.6 else None,
        )

    def through_lens(self, picture: Picture) -> Picture:
        """Light and blur: the same for the same scene, without any noise."""
        seen = noise.blur(picture * self.light, self.blur)
        return np.asarray(np.clip(0.5 + self.contrast * (seen - 0.5), 0, 1), np.float32)

    def record(self, rng: np.random.Generator, seen: Picture) -> npt.NDArray[np.uint8]:
        """What the sensor's pixels make of it, enlarged to the picture's: (S, S, 3) uint8 RGB."""
        sensed = _resized(seen, self.pixels, cv2.INTER_AREA)
        noisy = sensed + np.float32(self.sensor_noise) * rng.standard_normal(sensed.shape, dtype=np.float32)
        image = np.round(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
        if self.quality is not None:
            data = simplejpeg.encode_jpeg(image, quality=self.quality, colorspace="RGB", colorsubsampling="420")
            image = np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), np.uint8)
        return _resized(image, len(seen), cv2.INTER_CUBIC)


def _resized(picture: npt.NDArray[T], side: int, interpolation: int) -> npt.NDArray[T]:
    if len(picture) == side:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=interpolation), picture.dtype)


def _ramp(size: int, direction: float) -> Field:
    """-1..1 across the picture in a direction."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * np.float32(2 / size) - 1
    return np.asarray((math.cos(direction) * x + math.sin(direction) * y) / math.sqrt(2), np.float32)
