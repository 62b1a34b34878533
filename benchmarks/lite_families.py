"""What `lite`'s words and linear layers find of families of defects that no training saw: cracks and fibres.

    python -m benchmarks lite_families

Pictures are drawn anew, from a seed of their own. Known surfaces are those of the training (`make lite-words`);
the four held-out ones are shown apart. Pixel AUROC over all pixels, and the mean over classes as the papers do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import core
from benchmarks.result import Result
from core.metrics import PixelAccumulator
from core.packaged import packaged_layers
from core.synthetic import SyntheticPicture, draw_picture

SEED = 7001
FAMILIES = ("crack", "fibre")
DEFECTIVE, GOOD = 4, 3
"""Pictures of a surface: defective ones of each family, and good ones."""
SIZE = 384
TARGET = 0.97


def results() -> Iterator[Result]:
    """Known surfaces first, then the unseen ones."""
    scorer = core.load_scorer("lite", method="april-gan", device="cpu", precision="float32")
    training = core.load_adapter(packaged_layers("lite")).header.training
    surfaces = {name: name in training["options"]["hold_out"] for name in training["classes"]}
    for held_out in (False, True):
        names = [name for name, unseen in surfaces.items() if unseen is held_out]
        yield _measured(scorer, names, "unseen" if held_out else "known", None if held_out else TARGET)


def _measured(scorer: core.Scorer, surfaces: list[str], kind: str, target: float | None) -> Result:
    embed = core.load_text_encoder("lite").embed
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ag-")))
        pooled = stack.enter_context(_accumulator(folder / "all"))
        by_class = {}
        for surface in surfaces:
            pictures = list(_pictures(surface))
            text = core.text_features(scorer, surface.replace("_", " "), embed)
            images = [picture.image for picture in pictures]
            maps = core.inspect(scorer, images, mode="streaming", text=text, keep_stages=False).map
            with _accumulator(folder / surface) as own:
                for picture, heat in zip(pictures, maps, strict=True):
                    own.add(heat, picture.mask)
                    pooled.add(heat, picture.mask)
                by_class[surface] = round(float(own.figures().auroc or 0), 4)
        return Result(
            name=f"lite_unseen_families_{kind}_surfaces_pixel_auroc",
            value=float(pooled.figures().auroc or 0),
            target=target,
            detail={"mean_over_classes": round(float(np.mean(list(by_class.values()))), 4), "classes": by_class},
        )


def _accumulator(folder: Path) -> PixelAccumulator:
    folder.mkdir()
    return PixelAccumulator(folder)


def _pictures(surface: str) -> Iterator[SyntheticPicture]:
    place = [SEED, *surface.encode()]
    for number, family in enumerate(FAMILIES):
        for piece in range(DEFECTIVE):
            draw = np.random.default_rng([*place, number + 1, piece])
            yield draw_picture(draw, surface=surface, defect=family, size=SIZE)
    for piece in range(GOOD):
        draw = np.random.default_rng([*place, 0, piece])
        yield draw_picture(draw, surface=surface, defect=None, size=SIZE)
