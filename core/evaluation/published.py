"""What the papers report, to stand beside what is measured. In percent, as printed.

Only where data set, model and number of references are the same is a figure comparable; `published` gives no
other. Cells are missing where a paper does not report them or this project has no trustworthy copy: the 1- and
2-shot rows of SPADE, PaDiM and PatchCore that it has look swapped and are left out. The VAND challenge's figures
are on a test set whose masks nobody else has; there is nothing to put them beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.presets import PRESETS, EncoderSpec

CLASSES: Mapping[str, int] = {"mvtec": 15, "visa": 12}
"""How many classes the published means are over."""
APRIL_GAN = "APRIL-GAN, arXiv 2305.17382"
WINCLIP = "WinCLIP, arXiv 2303.14814"
MODEL: Mapping[str, str] = {"april-gan": "april-gan", "winclip": "sdp"}
"""By method: the preset that is its paper's model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A row of a paper's table. figures: by metric, percent. deviations: over five draws of references."""

    source: str
    figures: Mapping[str, float]
    deviations: Mapping[str, float]


def published(method: str, layout: str, shots: int, *, encoder: EncoderSpec, classes: int) -> Published | None:
    """The row of the method's own paper, None where what was measured is not comparable or the row is not known.

    encoder: what was measured with. classes: how many.
    """
    preset = PRESETS.get(MODEL.get(method, ""))
    if preset is None or classes != CLASSES.get(layout):
        return None
    same = ("model", "image_size", "stages", "activation")
    if any(getattr(encoder, name) != getattr(preset, name) for name in same):
        return None
    return _ROWS.get((method, layout, shots))


def _row(source: str, pixel: str, image: str) -> Published:
    """From the paper's way to write: AUROC/F1/AP/PRO of pixels and AUROC/F1/AP of images, "-" for none."""
    # APRIL-GAN's PRO is its code's form; WinCLIP's is the field's.
    pro = "pro_cflow200" if source == APRIL_GAN else "pro"
    names = ("pixel_auroc", "pixel_f1_max", "pixel_ap", pro, "image_auroc", "image_f1_max", "image_ap")
    figures: dict[str, float] = {}
    deviations: dict[str, float] = {}
    for name, cell in zip(names, [*pixel.split("/"), *image.split("/")], strict=True):
        if cell != "-":
            value, _, spread = cell.partition("±")
            figures[name] = float(value)
            deviations |= {name: float(spread)} if spread else {}
    return Published(source=source, figures=figures, deviations=deviations)


_ROWS: Mapping[tuple[str, str, int], Published] = {
    ("april-gan", "mvtec", 0): _row(APRIL_GAN, "87.6/43.3/40.8/44.0", "86.1/90.4/93.5"),
    ("april-gan", "mvtec", 1): _row(
        APRIL_GAN, "95.1±0.1/54.2±0.0/51.8±0.1/90.6±0.2", "92.0±0.3/92.4±0.2/95.8±0.2"
    ),
    ("april-gan", "mvtec", 4): _row(APRIL_GAN, "95.9/56.9/54.5/91.8", "92.8/92.8/96.3"),
    ("april-gan", "visa", 0): _row(APRIL_GAN, "94.2/32.3/25.7/86.8", "78.0/78.7/81.4"),
    ("april-gan", "visa", 1): _row(APRIL_GAN, "-/-/-/-", "91.2/-/-"),
    ("april-gan", "visa", 4): _row(APRIL_GAN, "96.2/40.0/32.2/90.2", "92.6/88.4/94.5"),
    ("winclip", "mvtec", 0): _row(WINCLIP, "85.1/31.7/-/64.6", "91.8/92.9/96.5"),
    ("winclip", "mvtec", 1): _row(WINCLIP, "95.2±0.5/55.9±2.7/-/87.1±1.2", "93.1±2.0/93.7±1.1/96.5±0.9"),
    ("winclip", "visa", 0): _row(WINCLIP, "79.6/14.8/-/56.8", "78.1/79.0/81.2"),
}
