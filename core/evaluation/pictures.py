"""A class at a glance: a few pictures with their masks and every method's map, as one PNG.

Maps are in OpenCV's inferno, which grows in lightness and so reads in grey and for colour-blind eyes. Each method
has one scale for the whole grid, so that a good part's map can be compared with a defective one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from core.datasets import ObjectClass, read_image, read_mask
from core.evaluation.judges import Judge
from core.evaluation.options import Trial
from core.evaluation.panel import BATCH, Panel
from core.evaluation.tally import Mask
from core.image import Image
from core.inspection import Floats

CELL = 256
"""Pixels a side of one picture in the grid."""
TITLE, CAPTION, GAP = 44, 22, 6
FONT, INK, PAPER = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30), (255, 255, 255)
OUTLINE = (0, 200, 255)
"""RGB of the true defect's rim: sky blue stands out from every colour of inferno."""
COLD_SHARE = 0.5
"""The scale begins where this share of the good pictures' pixels lies below; it ends at the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One method's maps of the chosen pictures. maps: (n, S, S). scores: (n,)."""

    trial: Trial
    maps: Floats
    scores: Floats


def grid_picture(
    each: ObjectClass, panel: Panel, judges: Sequence[tuple[Trial, Judge]], scores: Sequence[Floats]
) -> bytes:
    """The class's grid as a PNG file.

    judges: the columns' methods. scores: for each (N,) image scores of all test pictures; the first one's choose
    the rows. Raises DatasetError for a picture that cannot be read.
    """
    labels = np.array([item.anomalous for item in each.test])
    places = choose(labels, scores[0])
    items = [each.test[place] for place in places]
    images = [read_image(item.image) for item in items]
    masks = [read_mask(item, panel.encoder.image_size) for item in items]
    columns = [
        Column(trial=trial, maps=_maps(panel, judge, images), scores=values[places])
        for (trial, judge), values in zip(judges, scores, strict=True)
    ]
    captions = [f"{item.defect} {item.image.name}" for item in items]
    encoded, data = cv2.imencode(".png", _drawn(each.name, captions, images, masks, columns)[:, :, ::-1])
    if not encoded:
        raise OSError(f"cannot encode the picture grid of {each.name} as PNG")
    return bytes(data)


def choose(labels: Mask, scores: Floats) -> list[int]:
    """Places of the pictures worth a look, at most six: the good ones with the middle and the largest score, then
    the defective ones with the two largest and the two smallest."""
    order = np.argsort(scores, kind="stable")
    good, bad = order[~labels[order]], order[labels[order]]
    middle_and_last = [good[len(good) // 2], good[-1]] if len(good) else []
    wanted = [*middle_and_last, *bad[::-1][:2], *bad[:2][::-1]]
    return list(dict.fromkeys(int(place) for place in wanted))


def colour_scale(maps: Floats, masks: Sequence[Mask]) -> tuple[float, float]:
    """(cold, hot) values of the maps (n, S, S) of the pictures with these masks."""
    good = np.array([not mask.any() for mask in masks])
    finite = np.nan_to_num(maps)
    low = float(np.quantile(finite[good] if good.any() else finite, COLD_SHARE))
    high = float(finite.max())
    return low, high if high > low else low + 1.0


def _maps(panel: Panel, judge: Judge, images: Sequence[Image]) -> Floats:
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return np.concatenate([judge.judge(panel.look(batch)).maps for batch in batches])


def _drawn(
    name: str,
    captions: Sequence[str],
    images: Sequence[Image],
    masks: Sequence[Mask],
    columns: Sequence[Column],
) -> Image:
    """(H, W, 3) uint8 RGB: a row a picture, under titles."""
    scales = [colour_scale(column.maps, masks) for column in columns]
    titles = [[name, "image"], ["", "mask"]]
    for column, (low, high) in zip(columns, scales, strict=True):
        trial = column.trial
        titles.append(
            [f"{trial.method}, {trial.shots} shots", f"{trial.score_modes[-1]}, {low:.3g} to {high:.3g}"]
        )
    rows = [_beside([_text_cell(lines, TITLE, scale=0.5) for lines in titles])]
    for place, (caption, image, mask) in enumerate(zip(captions, images, masks, strict=True)):
        cells = [
            _captioned(_outlined(_fitted(image), mask), caption),
            _captioned(_fitted(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)), ""),
        ]
        for column, scale in zip(columns, scales, strict=True):
            heat = _outlined(_fitted(_coloured(column.maps[place], scale)), mask)
            cells.append(_captioned(heat, f"score {column.scores[place]:.3g}"))
        rows.append(_beside(cells))
    return np.concatenate(rows)


def _coloured(anomaly_map: Floats, scale: tuple[float, float]) -> Image:
    """(S, S) to (S, S, 3) uint8 RGB; what is not a number shows cold."""
    low, high = scale
    heat = np.clip((np.nan_to_num(anomaly_map, nan=low) - low) / (high - low), 0.0, 1.0)
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _fitted(image: Image) -> Image:
    """Squashed to a cell, as the encoder squashes."""
    return np.asarray(cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _outlined(cell: Image, mask: Mask) -> Image:
    small = cv2.resize(mask.astype(np.uint8), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(np.ascontiguousarray(cell), contours, -1, OUTLINE, 1), dtype=np.uint8)


def _captioned(cell: Image, caption: str) -> Image:
    return np.concatenate([cell, _text_cell([caption], CAPTION, scale=0.42)])


def _text_cell(lines: Sequence[str], height: int, *, scale: float) -> Image:
    """(height, CELL, 3) uint8 RGB with lines of text; OpenCV's font is ASCII."""
    cell = np.full((height, CELL, 3), PAPER, dtype=np.uint8)
    step = height // len(lines)
    for number, line in enumerate(lines):
        ascii_line = line.encode("ascii", "replace").decode()
        baseline = (2, (number + 1) * step - 6)
        cv2.putText(cell, ascii_line, baseline, FONT, scale, INK, 1, cv2.LINE_AA)
    return cell


def _beside(cells: Sequence[Image]) -> Image:
    gap = np.full((cells[0].shape[0], GAP, 3), PAPER, dtype=np.uint8)
    padded = [part for cell in cells for part in (cell, gap)]
    return np.concatenate(padded[:-1], axis=1)
