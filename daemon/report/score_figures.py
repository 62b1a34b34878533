"""The charts of scores: how they are spread against the thresholds, and how they move over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.decide import Decision
from daemon.report import charts, drift_alarms
from daemon.report.charts import Axes, Chart, Column, Rule, Table, Tick
from daemon.report.content import Report, good_scores
from daemon.report.tallies import SCORE_STEP, BucketTally, Counted
from daemon.report.time_axis import MAX_RULES, centre, change_rules, clock, time_ticks

SCORED = (Decision.ACCEPT, Decision.REVIEW, Decision.REJECT)
HISTOGRAM_BINS = 64
FEWEST_FOR_MEDIAN = 5
FEWEST_FOR_BAND = 8
"""Parts in a bucket below which its quarters would be single parts."""
QUARTERS = (25, 50, 75)


def histogram(report: Report) -> Chart:
    """Scores by decision, and the thresholds that ruled. What lies far out shares the last column."""
    scores = {decision: report.scores(decision) for decision in SCORED}
    edges = _score_edges(report, Counted.merged(scores.values()))
    bins = _binned(scores, edges)
    axes, ticks = charts.count_axes(230, max(sum(counts.values()) for counts in bins))
    return Chart(
        name="scores",
        title="Scores",
        description=f"How often each score occurred, from {edges[0]:.2f} to {edges[-1]:.2f} and above; "
        f"{_thresholds_in_words(report)}.",
        height=axes.height,
        bars=charts.stacks(
            axes,
            [
                Column(
                    left=index / len(bins),
                    right=(index + 1) / len(bins),
                    counts=tuple(counts.items()),
                    title=_bin_title(edges, index, counts),
                )
                for index, counts in enumerate(bins)
            ],
        ),
        rules=_threshold_rules(report, axes, edges),
        x_ticks=_score_ticks(axes, edges),
        y_ticks=axes.y_ticks(ticks),
        x_label="score (spreads of good parts above their mean; the last column holds all beyond)",
        y_label="parts per column",
        legend=(
            *((decision.value, decision.value) for decision in SCORED),
            *((("former", "thresholds before"),) if len(report.reigns) > 1 else ()),
        ),
        table=_bins_table(edges, bins),
    )


def drift(report: Report) -> Chart:
    """Scores over time: median, middle half, where good samples lay, and drift alarms.

    Of all parts, since a drift soon leaves none that is accepted; defects, few, move neither median nor quarters.
    """
    rows = [(bucket, Counted.merged(bucket.scores.values())) for bucket in report.buckets]
    known = None if report.calibration is None else good_scores(report.calibration)
    axes, ticks = _drift_axes(report, [scores for _, scores in rows], known)
    middle = [
        (centre(report.window, bucket), scores.percentile(50) if scores.total >= FEWEST_FOR_MEDIAN else None)
        for bucket, scores in rows
    ]
    spread = [(centre(report.window, bucket), _middle(scores)) for bucket, scores in rows]
    enrolled = (
        () if known is None else (charts.band(axes, [(0, known[0], known[2]), (1, known[0], known[2])], "known"),)
    )
    bands = charts.bands(axes, spread, "spread")
    alarms = drift_alarms.notes(report)
    return Chart(
        name="drift",
        title="Drift: scores over time",
        description="The median of each column as a line, with the middle half of its parts as a band; a change "
        f"of light, lens or material lifts the line as a whole. {' '.join(alarms)}",
        height=axes.height,
        bars=drift_alarms.bars(report, axes),
        paths=(*enrolled, *bands, *_threshold_steps(report, axes), *charts.lines(axes, middle, "median")),
        rules=(*change_rules(report, axes), *drift_alarms.rules(report, axes)),
        x_ticks=time_ticks(report.window, axes),
        y_ticks=axes.y_ticks(ticks),
        y_label="in spreads of good parts above their mean",
        legend=(
            ("median", "median"),
            *((("spread", "middle half"),) if bands else ()),
            *((("known", "middle half of the bank's good samples"),) if enrolled else ()),
            ("threshold", "reject threshold"),
            *((("alarm", "drift alarm"),) if report.alarms else ()),
        ),
        notes=alarms,
        table=_drift_table(report, rows),
    )


def _middle(scores: Counted) -> tuple[float, float] | None:
    """(25 %, 75 %) of a bucket, None of too few parts."""
    low, high = scores.percentile(QUARTERS[0]), scores.percentile(QUARTERS[-1])
    return None if low is None or high is None or scores.total < FEWEST_FOR_BAND else (low, high)


def _score_edges(report: Report, scores: Counted) -> list[float]:
    """Bin edges, a whole number of steps wide, to the 98th percentile or a little beyond the highest threshold."""
    thresholds = [reign.thresholds.reject for reign in report.reigns]
    low = min(float(scores.values[0]), *thresholds) if thresholds else float(scores.values[0])
    high = max([scores.percentile(98) or low, *(t + 0.25 * abs(t - low) for t in thresholds)])
    steps = max(1, round(max(high - low, SCORE_STEP) / HISTOGRAM_BINS / SCORE_STEP + 0.5))
    width = steps * SCORE_STEP
    # half a step down, so that no rounded score lies on an edge
    first = low - SCORE_STEP / 2
    return [first + index * width for index in range(int((high - first) / width) + 2)]


def _score_ticks(axes: Axes, edges: Sequence[float]) -> tuple[Tick, ...]:
    return tuple(
        Tick(at=axes.x((value - edges[0]) / (edges[-1] - edges[0])), label=charts.number(value))
        for value in charts.round_steps(edges[0], edges[-1])
        if edges[0] <= value <= edges[-1]
    )


def _binned(scores: dict[Decision, Counted], edges: Sequence[float]) -> list[dict[str, int]]:
    """For each bin, decision -> how many; what lies beyond the edges falls into the outermost bins."""
    counts = {
        decision.value: np.histogram(np.clip(each.values, edges[0], edges[-1]), edges, weights=each.counts)[0]
        for decision, each in scores.items()
    }
    return [{kind: int(found[index]) for kind, found in counts.items()} for index in range(len(edges) - 1)]


def _bin_title(edges: Sequence[float], index: int, counts: dict[str, int]) -> str:
    end = "and above" if index == len(edges) - 2 else f"to {edges[index + 1]:.2f}"
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{edges[index]:.2f} {end}: {said or 'none'}"


def _bins_table(edges: Sequence[float], bins: Sequence[dict[str, int]]) -> Table:
    return Table(
        head=("score from", "to", *(decision.value for decision in SCORED)),
        rows=tuple(
            (f"{start:.2f}", f"{end:.2f}", *map(str, counts.values()))
            for (start, end), counts in zip(pairwise(edges), bins, strict=True)
            if any(counts.values())
        ),
    )


def _threshold_rules(report: Report, axes: Axes, edges: Sequence[float]) -> tuple[Rule, ...]:
    """The thresholds in force at the end, and dashed those that ruled before within the window."""
    rules = []
    for reign in report.reigns[-MAX_RULES:]:
        last = reign is report.reigns[-1]
        marks = [("reject", reign.thresholds.reject)]
        if reign.thresholds.review < reign.thresholds.reject:
            marks.append(("review", reign.thresholds.review))
        for name, value in marks:
            share = min(1.0, max(0.0, (value - edges[0]) / (edges[-1] - edges[0])))
            kind, label = ("threshold", f"{name} {value:.2f}") if last else ("former", "")
            # the review threshold is the lower one: on its left its label keeps clear of the other's
            leftward = name == "review" or share > 0.9
            rules.append(Rule(at=axes.x(share), upright=True, kind=kind, label=label, leftward=leftward))
    return tuple(rules)


def _threshold_steps(report: Report, axes: Axes) -> tuple[charts.Path, ...]:
    """The reject threshold as it was at each time."""
    starts = [0.0 if reign.since is None else report.window.position(reign.since) for reign in report.reigns]
    points = []
    for reign, (start, end) in zip(report.reigns, pairwise([*starts, 1.0]), strict=True):
        points += [(start, reign.thresholds.reject), (end, reign.thresholds.reject)]
    return charts.lines(axes, points, "threshold")


def _drift_axes(
    report: Report, scores: Sequence[Counted], known: tuple[float, float, float] | None
) -> tuple[Axes, list[float]]:
    values = [value for each in scores for percent in QUARTERS if (value := each.percentile(percent)) is not None]
    values += [reign.thresholds.reject for reign in report.reigns]
    values += [] if known is None else [known[0], known[2]]
    ticks = charts.round_steps(min(values, default=0.0), max(values, default=1.0))
    return Axes(height=220, low=ticks[0], high=ticks[-1]), ticks


def _drift_table(report: Report, rows: Sequence[tuple[BucketTally, Counted]]) -> Table:
    return Table(
        head=("from", "parts", "25 %", "median", "75 %", "drift alarm"),
        rows=tuple(
            (
                clock(report.window, bucket.start),
                str(scores.total),
                *(f"{scores.percentile(percent) or 0.0:.2f}" for percent in QUARTERS),
                drift_alarms.within(report, bucket),
            )
            for bucket, scores in rows
            if scores.total
        ),
    )


def _thresholds_in_words(report: Report) -> str:
    if not report.reigns:
        return "no threshold is on record"
    last = report.reigns[-1].thresholds
    return f"reject above {last.reject:.2f} ({last.state.value})"
