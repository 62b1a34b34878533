"""The library's values: samples in, anomaly results out. Frozen, no behaviour, no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.image import Image, decode_image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A good part's picture for enrolment or calibration.

    name: how errors name it (a file name, a frame key). image: (H, W, 3) uint8 RGB. sha256: of its bytes, hex.
    """

    name: str
    image: Image
    sha256: str

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Sample:
        """Decode a JPEG or PNG file. Raises ImageError."""
        return cls(name=name, image=decode_image(data), sha256=hashlib.sha256(data).hexdigest())

    @classmethod
    def from_array(cls, name: str, image: Image) -> Sample:
        """Wrap an (H, W, 3) uint8 RGB array."""
        return cls(name=name, image=image, sha256=hashlib.sha256(np.ascontiguousarray(image).data).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnomalyResult:
    """How unlike the good parts one picture is.

    score: streaming image score, unbounded; 0 is a typical good part and the unit is the spread of the
        product's own good samples (core.score_rule). It depends on this picture and its bank alone.
    text_score: probability in [0, 1] of a defect, from text alone; None without text features.
    map: (S, S) float32, S the encoder's image size; per pixel the sum over stages, larger is more
        anomalous. None where it was not wanted.
    """

    score: float
    text_score: float | None
    map: npt.NDArray[np.float32] | None
