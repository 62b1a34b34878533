"""The contact sheet of an enrolment: what a person should see before a bank takes charge. Numbers and thumbnails.

Every reference stands beside itself under its leave-one-out map, drawn as the line will draw its heatmaps, so that
a warm place on a good part shows what the bank would learn. `contact_page` and `contact_png` make files of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

import core
from core.calibration import lacking, needed_samples
from core.decide import ThresholdState
from core.image import Image
from core.picture_traits import PictureTraits
from daemon.heatmaps import overlay

THUMBNAIL = 360
"""Pixels of the longer side."""
WISHED = 0.01
"""The rate of false rejects that most lines ask for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tile:
    """One reference. number: by which it is dropped, from 1. score: against the others, None where there are none.

    name: its file's name or its frame's key. picture, heat: (H, W, 3) uint8 RGB thumbnails. warnings: of it alone.
    """

    number: int
    name: str
    picture: Image
    heat: Image | None
    score: float | None
    traits: PictureTraits
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Promise:
    """What the threshold stands for.

    expected: mean rate of rejected good parts. upper: of this one calibration with 95 % confidence, None where
    nothing is promised. missing: good parts outside the bank that a promise of `wished` lacks: of what was chosen,
    of 1 % where nothing was.
    """

    state: ThresholdState
    reject: float
    review: float
    expected: float
    upper: float | None
    wished: float
    missing: int

    @classmethod
    def of(cls, bank: core.ReferenceBank) -> Promise:
        """What a bank promises."""
        calibration, thresholds = bank.header.calibration, bank.thresholds
        samples = len(calibration.calibration_scores)
        wished, missing = lacking(thresholds, samples) or (WISHED, max(0, needed_samples(WISHED) - samples))
        if thresholds.state is ThresholdState.CALIBRATED and (chosen := thresholds.max_false_rejects):
            wished, missing = chosen, 0
        return cls(
            state=thresholds.state,
            reject=thresholds.reject,
            review=thresholds.review,
            expected=calibration.expected_false_rejects,
            upper=calibration.upper_false_rejects,
            wished=wished,
            missing=missing,
        )

    def in_words(self) -> str:
        """The rate, and how much it is worth."""
        rate = f"{self.expected:.2%} of good parts"
        if self.upper is None:
            return rate + " (an expectation, no promise)"
        return rate + f" on average; this calibration at most {self.upper:.2%} with 95 % confidence"

    def next_step(self, line: int) -> str | None:
        """How to get to the promise that is wished, None where it is made already."""
        if not self.missing:
            return None
        return (
            f"A promise of {100 * self.wished:.3g} % takes {self.missing} more good parts outside the bank: "
            f"aprilgan-admin calibrate --line {line} DIR"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContactSheet:
    """Everything the page and the picture show. warnings: of the set as a whole. roi_share: None inspects all."""

    line: int
    product: str
    made_at: datetime
    encoder: str
    tiles: tuple[Tile, ...]
    scores: tuple[float, ...]
    calibration_scores: tuple[float, ...]
    promise: Promise
    warnings: tuple[str, ...]
    roi_share: float | None

    @property
    def flagged(self) -> int:
        """How many references carry a warning."""
        return sum(bool(tile.warnings) for tile in self.tiles)


def contact_sheet(
    enrolment: core.Enrolment, references: Sequence[core.Sample], *, line: int, made_at: datetime
) -> ContactSheet:
    """Lay out an enrolment. references: those of the bank, in its order."""
    header = enrolment.bank.header
    roi = enrolment.bank.roi
    numbers = {sample.name: index + 1 for index, sample in enumerate(references)}
    return ContactSheet(
        line=line,
        product=header.product,
        made_at=made_at,
        encoder=header.encoder_id,
        tiles=tuple(_tile(enrolment, sample, numbers) for sample in references),
        scores=enrolment.scores,
        calibration_scores=enrolment.calibration_scores,
        promise=Promise.of(enrolment.bank),
        warnings=tuple(str(finding) for finding in enrolment.findings if finding.sample not in numbers),
        roi_share=None if roi is None else float(roi.mean()),
    )


def _tile(enrolment: core.Enrolment, sample: core.Sample, numbers: Mapping[str, int]) -> Tile:
    index = numbers[sample.name] - 1
    alone = len(enrolment.scores) != len(enrolment.traits)  # one reference: the scores are its jittered copies'
    maps = enrolment.maps
    picture = thumbnail(sample.image)
    return Tile(
        number=index + 1,
        name=Path(sample.name).name,
        picture=picture,
        heat=None if maps is None or alone else overlay(picture, maps[index], enrolment.bank.header.map_scale),
        score=None if alone else enrolment.scores[index],
        traits=enrolment.traits[index],
        warnings=tuple(
            _by_number(finding.text, numbers) for finding in enrolment.findings if finding.sample == sample.name
        ),
    )


def _by_number(text: str, numbers: Mapping[str, int]) -> str:
    """Another sample that a warning names goes by its number on the sheet."""
    for name, number in numbers.items():
        text = text.replace(name, f"sample {number}")
    return text


def thumbnail(image: Image, side: int = THUMBNAIL) -> Image:
    """(H, W, 3) uint8 RGB, its longer side at most `side` pixels."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
