"""An evaluation as a page of Markdown in the papers' form: percent, mean ± standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.datasets import Layout
from core.evaluation.published import Published, published
from core.evaluation.rows import MeanRow, Row, mean_rows
from core.presets import EncoderSpec

TITLES: Mapping[str, str] = {
    "pixel_auroc": "px AUROC",
    "pixel_f1_max": "px F1",
    "pixel_ap": "px AP",
    "pro": "PRO",
    "pro_cflow200": "PRO cflow200",
    "image_auroc": "im AUROC",
    "image_f1_max": "im F1",
    "image_ap": "im AP",
    "vand": "VAND",
}
"""The metrics in the order of the papers' tables."""
LEGEND = (
    "Percent: the mean over classes, then over seeds, ± the standard deviation over seeds. px: per pixel, im: per "
    "image; F1 is the largest over thresholds. PRO is integrated to a false-positive rate of 0.3; PRO cflow200 is "
    "the reference code's form (200 thresholds, rates rescaled). VAND: harmonic mean of im F1 and px F1 by class. "
    "transductive: image scores rescaled over the class's whole test set, as the reference code does; streaming: "
    "each picture's from itself and its references alone. -: not defined, or not published."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the rows were measured on. facts: by name, for the foot of the page (machine, date, digests)."""

    layout: Layout
    classes: int
    encoder: EncoderSpec
    facts: Mapping[str, str]


def markdown(rows: Sequence[Row], mean: Sequence[MeanRow], setting: Setting) -> str:
    """The whole page: means beside published rows, a table a class, notes."""
    parts = [
        f"# {setting.encoder.name} on {setting.layout}, {_count(setting.classes, 'class')}",
        LEGEND,
        _mean_table(mean, setting),
        *_notes(mean, setting),
        "## By class",
    ]
    for name in dict.fromkeys(row.object_class for row in rows):
        parts += [f"### {name}", _class_table([row for row in rows if row.object_class == name])]
    parts += ["## Measured", "\n".join(f"- {name}: {value}" for name, value in setting.facts.items())]
    return "\n\n".join(parts) + "\n"


def _mean_table(mean: Sequence[MeanRow], setting: Setting) -> str:
    lines = []
    for row in mean:
        lines.append(_measured(row))
        theirs = _published(row, setting)
        if theirs is not None:
            lines.append(_beside(row, theirs))
    return _table(lines)


def _class_table(rows: Sequence[Row]) -> str:
    return _table(_measured(row) for row in mean_rows(rows))


def _notes(mean: Sequence[MeanRow], setting: Setting) -> list[str]:
    """What a reader must know of missing cells."""
    notes = []
    alone = sorted(
        {f"{row.method} with {_count(row.shots, 'shot')}" for row in mean if not _published(row, setting)}
    )
    if alone:
        notes.append(
            f"No published row for this data set, model and number of references is known here for "
            f"{', '.join(alone)}."
        )
    for row in mean:
        for metric, count in row.undefined.items():
            notes.append(
                f"{TITLES[metric]} of {row.method}, {_count(row.shots, 'shot')}, {row.score_mode}: not defined "
                f"for {count} of {row.classes * row.seeds} class rows, which the mean leaves out."
            )
    return ["\n".join(f"- {note}" for note in notes)] if notes else []


def _published(row: MeanRow, setting: Setting) -> Published | None:
    return published(row.method, setting.layout, row.shots, encoder=setting.encoder, classes=setting.classes)


def _table(lines: Iterable[Sequence[str]]) -> str:
    head = ("method", "shots", "seeds", "image score", *TITLES.values())
    rule = ("---", "--:", "--:", "---", *["--:"] * len(TITLES))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _measured(row: MeanRow) -> tuple[str, ...]:
    cells = (_cell(_percent(row.figures[metric]), _percent(row.deviations[metric])) for metric in TITLES)
    return (row.method, str(row.shots), str(row.seeds), row.score_mode, *cells)


def _beside(row: MeanRow, theirs: Published) -> tuple[str, ...]:
    cells = (_cell(theirs.figures.get(metric), theirs.deviations.get(metric)) for metric in TITLES)
    return (f"*published: {theirs.source}*", str(row.shots), "", "", *cells)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _cell(value: float | None, spread: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if spread is None else f"{value:.1f} ± {spread:.1f}"


def _count(number: int, thing: str) -> str:
    plural = {"class": "classes", "shot": "shots"}[thing]
    return f"{number} {thing if number == 1 else plural}"
