"""The textile pictures of the package `conformal-clip-data` (MIT), in the split that every figure here uses.

1,000 good pictures, 500 with a local defect and 500 with a global one, 250x250 pixels.
By the order of the sorted file names: *development* is nominal 0-499, local 0-249, global 0-249, for
choosing and tuning; *report* is the rest, and is only ever measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import conformal_clip_data
import numpy as np

KINDS = ("nominal", "local", "global")
_DEVELOPMENT = {"nominal": 500, "local": 250, "global": 250}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file and what it shows."""

    path: Path
    kind: str

    @property
    def defective(self) -> bool:
        """Whether it shows a defect of either kind."""
        return self.kind != "nominal"


def development(kind: str) -> list[Picture]:
    """The development half of a kind."""
    return _pictures(kind)[: _DEVELOPMENT[kind]]


def report(kind: str) -> list[Picture]:
    """The report half of a kind."""
    return _pictures(kind)[_DEVELOPMENT[kind] :]


def references(count: int, *, seed: int) -> list[Picture]:
    """Good pictures to enrol from, drawn from the development half."""
    good = development("nominal")
    return [good[index] for index in np.random.default_rng(seed).permutation(len(good))[:count]]


def stream(nominal: int, local: int, globally: int, *, seed: int) -> list[Picture]:
    """Held-out pictures from the report half in a shuffled order, as a line would bring them."""
    rng = np.random.default_rng(seed)
    chosen: list[Picture] = []
    for kind, count in zip(KINDS, (nominal, local, globally), strict=True):
        pictures = report(kind)
        chosen += [pictures[index] for index in rng.permutation(len(pictures))[:count]]
    return [chosen[index] for index in rng.permutation(len(chosen))]


def _pictures(kind: str) -> list[Picture]:
    root = Path(conformal_clip_data.__file__).parent / "data" / "textile_images" / "simulated" / kind
    return [Picture(path=path, kind=kind) for path in sorted(root.glob("*.jpg"))]
