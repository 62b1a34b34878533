"""The drift watch's alarms on the chart of scores: when each was raised, how long it stood, and in words."""

from __future__ import annotations

from daemon.drift import DriftAlarm, why_not
from daemon.report.charts import Axes, Bar, Rule
from daemon.report.content import Report
from daemon.report.tallies import BucketTally
from daemon.report.time_axis import clock


def bars(report: Report, axes: Axes) -> tuple[Bar, ...]:
    """The times at which an alarm stood, over the whole height."""
    top, foot = axes.y(axes.high), axes.y(axes.low)
    found = []
    for alarm in report.alarms:
        left, right = (axes.x(share) for share in _stood(report, alarm))
        title = f"drift alarm: scores {alarm.direction}"
        found.append(
            Bar(
                x=left, y=top, width=round(max(2.0, right - left), 2), height=foot - top, kind="alarm", title=title
            )
        )
    return tuple(found)


def rules(report: Report, axes: Axes) -> tuple[Rule, ...]:
    """An upright line where an alarm was raised; one that stood before the window has none."""
    return tuple(
        Rule(
            at=axes.x(share),
            upright=True,
            kind="alarm",
            label=f"alarm: scores {alarm.direction}",
            leftward=share > 0.8,
        )
        for alarm in report.alarms
        if alarm.began >= report.window.start
        for share in (report.window.position(alarm.began),)
    )


def notes(report: Report) -> tuple[str, ...]:
    """What the watch had to say, a sentence an alarm; where it was silent, whether it watched at all."""
    if report.alarms:
        return tuple(_in_words(report, alarm) for alarm in report.alarms)
    if report.drift is None:
        return ()
    if not report.drift.watched:
        return (f"The drift watch does not run: {why_not(report.drift)}.",)
    return ("The drift watch raised no alarm.",)


def within(report: Report, bucket: BucketTally) -> str:
    """The direction of the alarm that stood in a bucket, "" where none did."""
    stood = (
        alarm.direction
        for alarm in report.alarms
        if alarm.began < bucket.end and (alarm.ended is None or alarm.ended > bucket.start)
    )
    return next(stood, "")


def _stood(report: Report, alarm: DriftAlarm) -> tuple[float, float]:
    """From where to where along the time axis."""
    start = report.window.position(alarm.began)
    return start, 1.0 if alarm.ended is None else report.window.position(alarm.ended)


def _in_words(report: Report, alarm: DriftAlarm) -> str:
    raised = (
        f"Drift alarm of {clock(report.window, alarm.began)}: good parts score {alarm.direction} than at their "
        f"calibration (found after {alarm.parts} parts)."
    )
    if alarm.ended is None:
        return raised + " It stands: look at lens, light and material."
    return raised + f" Somebody began the watch anew at {clock(report.window, alarm.ended)}."
