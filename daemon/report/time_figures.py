"""The charts of what happened when: decisions, reasons, times."""

from __future__ import annotations

from collections.abc import Sequence

from core.decide import Decision
from daemon.flow import UninspectedReason
from daemon.report import charts
from daemon.report.charts import Axes, Chart, Column, Rule, Table, Tick
from daemon.report.content import Report
from daemon.report.tallies import BucketTally
from daemon.report.time_axis import centre, change_rules, clock, time_ticks, width_in_words
from daemon.report.window import Window

DECISIONS = (Decision.ACCEPT, Decision.REVIEW, Decision.REJECT, Decision.UNINSPECTED)


def counts(report: Report) -> Chart:
    """Parts by decision over time."""
    axes, ticks = charts.count_axes(210, max(bucket.parts for bucket in report.buckets))
    return Chart(
        name="counts",
        title="Parts by decision",
        description=f"Stacked columns over time, {width_in_words(report.window)} each: {_totals(report)}.",
        height=axes.height,
        bars=charts.stacks(axes, [_column(report.window, bucket, DECISIONS) for bucket in report.buckets]),
        rules=change_rules(report, axes),
        x_ticks=time_ticks(report.window, axes),
        y_ticks=axes.y_ticks(ticks),
        y_label=f"parts per {width_in_words(report.window)}",
        legend=tuple((decision.value, decision.value) for decision in DECISIONS),
        table=_counts_table(report),
    )


def not_accepted(report: Report) -> Chart:
    """What was not accepted, on a scale of its own: among thousands of accepted parts it would not be seen."""
    shown = DECISIONS[1:]
    largest = max(bucket.parts - bucket.decisions.get(Decision.ACCEPT, 0) for bucket in report.buckets)
    axes, ticks = charts.count_axes(160, largest)
    return Chart(
        name="not-accepted",
        title="Not accepted",
        description=f"The same columns without the accepted parts; the fullest holds {largest} parts.",
        height=axes.height,
        bars=charts.stacks(axes, [_column(report.window, bucket, shown) for bucket in report.buckets]),
        rules=change_rules(report, axes),
        x_ticks=time_ticks(report.window, axes),
        y_ticks=axes.y_ticks(ticks),
        y_label=f"parts per {width_in_words(report.window)}",
        legend=tuple((decision.value, decision.value) for decision in shown),
        table=_counts_table(report),
    )


def uninspected(report: Report) -> Chart:
    """When parts were not inspected: one row a reason, all rows on one scale."""
    row_height = 26
    height = charts.TOP + charts.BOTTOM + row_height * len(report.losses)
    axes = Axes(height=height, low=0.0, high=float(len(report.losses)))
    largest = max(max(bucket.uninspected.values(), default=0) for bucket in report.buckets)
    feet = {loss.reason: len(report.losses) - 1 - row for row, loss in enumerate(report.losses)}
    return Chart(
        name="uninspected",
        title="Not inspected, by reason",
        description=f"A row of columns for each reason; the fullest column holds {largest} parts.",
        height=height,
        bars=tuple(
            _row_bar(axes, report.window, bucket, reason, feet[reason], count / largest)
            for bucket in report.buckets
            for reason, count in bucket.uninspected.items()
        ),
        x_ticks=time_ticks(report.window, axes),
        y_ticks=tuple(Tick(at=axes.y(foot + 0.35), label=reason) for reason, foot in feet.items()),
        table=_counts_table(report),
    )


def latency(report: Report) -> Chart:
    """Receipt to verdict: median and 99th percentile, the line's deadline, and how often it passed."""
    deadline = None if report.line_settings is None else float(report.line_settings.deadline_ms)
    quantiles = [(b, b.total_ms.percentile(50), b.total_ms.percentile(99)) for b in report.buckets]
    largest = max((p99 for _, _, p99 in quantiles if p99 is not None), default=1.0)
    shown = deadline if deadline is not None and deadline <= 4 * largest else None
    ticks = charts.round_steps(0.0, max(largest, shown or 0.0))
    axes = Axes(height=200, low=0.0, high=ticks[-1])
    legend = (("p50", "median"), ("p99", "99th percentile"), ("missed", "with missed deadlines"))
    return Chart(
        name="latency",
        title="Time from receipt to verdict",
        description=f"Median {_ms(report.total_ms.percentile(50))}, 99th percentile "
        f"{_ms(report.total_ms.percentile(99))}; {report.deadline_misses} missed deadlines.",
        height=axes.height,
        bars=tuple(_missed(axes, report.window, bucket) for bucket in report.buckets if _misses(bucket)),
        paths=(
            *charts.lines(axes, [(centre(report.window, b), p50) for b, p50, _ in quantiles], "p50"),
            *charts.lines(axes, [(centre(report.window, b), p99) for b, _, p99 in quantiles], "p99"),
        ),
        rules=(
            *change_rules(report, axes),
            *(
                ()
                if shown is None
                else (Rule(at=axes.y(shown), upright=False, kind="deadline", label="deadline"),)
            ),
        ),
        x_ticks=time_ticks(report.window, axes),
        y_ticks=axes.y_ticks(ticks),
        y_label="ms",
        legend=legend if report.deadline_misses else legend[:2],
        table=Table(
            head=("from", "median ms", "99 % ms", "missed deadlines"),
            rows=tuple(
                (clock(report.window, b.start), f"{p50:.1f}", f"{p99:.1f}", str(_misses(b)))
                for b, p50, p99 in quantiles
                if p50 is not None and p99 is not None
            ),
        ),
    )


def _column(window: Window, bucket: BucketTally, shown: Sequence[Decision]) -> Column:
    counts = tuple((decision.value, bucket.decisions.get(decision, 0)) for decision in shown)
    said = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    left, right = window.position(bucket.start), window.position(bucket.end)
    return Column(left=left, right=right, counts=counts, title=f"{clock(window, bucket.start)}: {said or 'none'}")


def _row_bar(axes: Axes, window: Window, bucket: BucketTally, reason: str, foot: int, share: float) -> charts.Bar:
    left, right = axes.x(window.position(bucket.start)), axes.x(window.position(bucket.end))
    top = axes.y(foot + 0.85 * share)
    return charts.Bar(
        x=left,
        y=top,
        width=round(max(2.0, right - left - 1), 2),
        height=round(max(charts.LEAST_BAR, axes.y(foot) - top), 2),
        kind=Decision.UNINSPECTED.value,
        title=f"{clock(window, bucket.start)}: {bucket.uninspected[reason]} {reason}",
    )


def _missed(axes: Axes, window: Window, bucket: BucketTally) -> charts.Bar:
    """A mark along the top where deadlines passed; its height says nothing."""
    left, right = axes.x(window.position(bucket.start)), axes.x(window.position(bucket.end))
    return charts.Bar(
        x=left,
        y=charts.TOP,
        width=round(max(2.0, right - left - 1), 2),
        height=6.0,
        kind="missed",
        title=f"{clock(window, bucket.start)}: {_misses(bucket)} missed deadlines",
    )


def _misses(bucket: BucketTally) -> int:
    return bucket.uninspected.get(UninspectedReason.DEADLINE, 0)


def _counts_table(report: Report) -> Table:
    return Table(
        head=("from", *(decision.value for decision in DECISIONS), "reasons"),
        rows=tuple(
            (
                clock(report.window, bucket.start),
                *(str(bucket.decisions.get(decision, 0)) for decision in DECISIONS),
                ", ".join(f"{reason} {count}" for reason, count in bucket.uninspected.items()),
            )
            for bucket in report.buckets
            if bucket.parts
        ),
    )


def _totals(report: Report) -> str:
    found = report.decisions
    return ", ".join(f"{found.get(decision, 0)} {decision.value}" for decision in DECISIONS)


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"
