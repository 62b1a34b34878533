"""The page: one HTML file that fetches nothing, runs nothing and prints well.

Everything that came from outside (part ids, notes, reasons) goes through the template's escaping; a policy in the
page forbids scripts and every fetch, should anything slip through.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import datetime

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from core.calibration import rate_above
from core.decide import Decision, ThresholdState
from daemon import __version__
from daemon.flow import UninspectedReason
from daemon.report import charts, score_figures, time_figures
from daemon.report.charts import Chart
from daemon.report.content import Report
from daemon.report.window import Window

_MEANINGS = {
    UninspectedReason.DEADLINE: "no answer came before the line's deadline",
    UninspectedReason.DECODE: "the picture was damaged",
    UninspectedReason.NO_BANK: "the line had no bank to compare with",
    UninspectedReason.MODEL_ERROR: "scoring failed",
    UninspectedReason.NOT_FINITE: "the score was no number",
    UninspectedReason.WORKER_LOST: "the scoring process was lost",
    UninspectedReason.OVERLOAD: "more frames came than can be scored",
    UninspectedReason.RESTART: "the service was restarted",
}
_PROMISES = {
    ThresholdState.PROVISIONAL: "provisional: nothing is promised until the line is calibrated",
    ThresholdState.CALIBRATED: "calibrated",
    ThresholdState.MANUAL: "set by hand: nothing is promised",
}
SCALE_STOPS = 9


def render(report: Report, *, made_at: datetime, made_by: str) -> str:
    """The whole file as text. made_at: aware; made_by: who asked for it."""
    environment = Environment(
        loader=PackageLoader("daemon.admin"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    zone = report.window.start.tzinfo
    environment.filters["moment"] = lambda at: at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    environment.filters["clock"] = lambda at: at.astimezone(zone).strftime(_clock_format(report.window))
    environment.filters["number"] = charts.number
    return environment.get_template("report.html.j2").render(
        report=report,
        summary=summary(report),
        charts=figures(report) if report.parts else (),
        chart_width=charts.WIDTH,
        meanings=_MEANINGS,
        promise=_promise(report),
        scale=heat_scale(),
        made_at=made_at,
        made_by=made_by,
        host=socket.gethostname(),
        version=__version__,
        zone=f"{report.window.start:%Z (UTC%z)}",
    )


def summary(report: Report) -> Sequence[tuple[str, str, str]]:
    """The figures at the top: (what, how much, in proportion or in other words)."""
    found, parts = report.decisions, report.parts
    p50, p99 = (report.total_ms.percentile(percent) for percent in (50, 99))
    return (
        ("parts", charts.number(parts), ""),
        *(
            (decision.value, charts.number(found.get(decision, 0)), _share(found.get(decision, 0), parts))
            for decision in (Decision.ACCEPT, Decision.REVIEW, Decision.REJECT, Decision.UNINSPECTED)
        ),
        ("median time", _ms(p50), f"99 %: {_ms(p99)}"),
        ("deadline missed", charts.number(report.deadline_misses), _share(report.deadline_misses, parts)),
    )


def figures(report: Report) -> tuple[Chart, ...]:
    """Every chart that has something to show, in the order of the page."""
    made = [time_figures.counts(report), time_figures.not_accepted(report)]
    if report.losses:
        made.append(time_figures.uninspected(report))
    if any(bucket.scores for bucket in report.buckets):
        made += [score_figures.histogram(report), score_figures.drift(report)]
    return (*made, time_figures.latency(report))


def heat_scale() -> str:
    """The heatmaps' colours, cold to hot, as CSS colour stops."""
    ramp = np.linspace(0, 255, SCALE_STOPS).astype(np.uint8)[None]
    colours = cv2.cvtColor(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)[0]
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours.tolist())


def _clock_format(window: Window) -> str:
    """Of an instant within the window: the day only where it could be another."""
    same_day = window.start.date() == window.end.astimezone(window.start.tzinfo).date()
    return "%H:%M:%S" if same_day else "%d %b %H:%M:%S"


def _promise(report: Report) -> str:
    """What the threshold in force stands for, in words."""
    if report.in_force is None:
        return ""
    thresholds, known = report.in_force.thresholds, report.calibration
    said = _PROMISES[thresholds.state]
    if thresholds.state is ThresholdState.CALIBRATED and known is not None and known.calibration_scores:
        # at the threshold as it is now, which may have been moved since the bank was calibrated
        rate = rate_above(thresholds.reject, known.calibration_scores).expected
        said += (
            f" with {len(known.calibration_scores)} good parts: "
            f"on average at most {rate:.2%} of good parts are rejected"
        )
    return said


def _share(count: int, parts: int) -> str:
    return f"{count / parts:.2%}" if parts else ""


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"
