"""How far apart two colours look to people who see with two kinds of cones.

Matrices of Machado, Oliveira and Fernandes 2009 (severity 1.0) on linear RGB; distance in CIELAB (CIE 1976).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

SEEN_BY = {
    "everybody": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanope": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ_OF_LINEAR_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])


def distance(one: str, other: str) -> float:
    """The smallest distance of two colours, #RRGGBB, over everybody in SEEN_BY; about 2 is just noticeable."""
    return min(
        float(np.linalg.norm(_lab(matrix @ _linear(one)) - _lab(matrix @ _linear(other))))
        for matrix in SEEN_BY.values()
    )


def _linear(colour: str) -> Vector:
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear: Vector) -> Vector:
    xyz = _XYZ_OF_LINEAR_RGB @ np.clip(linear, 0, 1) / _WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
