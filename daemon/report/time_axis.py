"""The axis that most charts share: ticks at full hours, marks where the line was changed, times in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from daemon.report.charts import Axes, Rule, Tick
from daemon.report.content import Report
from daemon.report.tallies import BucketTally
from daemon.report.window import Window

TIME_TICKS = 8
MAX_RULES = 12
"""Changes that are drawn; the table lists them all."""


def change_rules(report: Report, axes: Axes) -> tuple[Rule, ...]:
    """Upright lines where the line was changed, numbered as the table of changes is."""
    shares = [report.window.position(change.at) for change in report.changes[:MAX_RULES]]
    return tuple(
        Rule(at=axes.x(share), upright=True, kind="change", label=str(index), leftward=share > 0.9)
        for index, share in enumerate(shares, start=1)
    )


def time_ticks(window: Window, axes: Axes) -> tuple[Tick, ...]:
    """Full hours, minutes or days, with the day where it is another one than before."""
    width_s = window.width_s(TIME_TICKS)
    return tuple(
        Tick(at=axes.x(window.position(at)), label=label)
        for at, label in _labelled(window.multiples(width_s), window.start.tzinfo, width_s)
    )


def _labelled(times: Sequence[datetime], zone: tzinfo | None, width_s: int) -> Iterator[tuple[datetime, str]]:
    form = "%H:%M:%S" if width_s < 60 else "%H:%M"
    several_days = bool(times) and times[0].astimezone(zone).date() != times[-1].astimezone(zone).date()
    for at in times:
        local = at.astimezone(zone)
        midnight = local.hour == local.minute == local.second == 0
        yield at, f"{local:%d %b}" if several_days and (midnight or width_s >= 86_400) else local.strftime(form)


def centre(window: Window, bucket: BucketTally) -> float:
    """The bucket's middle, 0 to 1 along the axis."""
    return (window.position(bucket.start) + window.position(bucket.end)) / 2


def clock(window: Window, at: datetime) -> str:
    """An instant as people there read it."""
    return at.astimezone(window.start.tzinfo).strftime("%d %b %H:%M:%S")


def width_in_words(window: Window) -> str:
    """How long a bucket is: "10 min"."""
    width = timedelta(seconds=window.bucket_s)
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if width >= unit and not width % unit:
            return f"{width // unit} {name}"
    return f"{window.bucket_s} s"
