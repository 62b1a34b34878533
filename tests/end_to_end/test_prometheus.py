"""A real Prometheus scrapes the real daemon: every query of every dashboard is answered, every rule evaluates."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from tests.deploy.monitoring_files import (
    DASHBOARDS,
    annotation_queries,
    filled,
    panel_queries,
    rules,
    variables,
)
from tests.end_to_end.harness import RunningDaemon, a_daemon, picture, until, write_pictures
from tests.end_to_end.prometheus_server import Prometheus, a_prometheus
from tests.end_to_end.senders import Camera, a_dealer, exchange, native_message
from tests.ports import free_ports

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not installed (Debian: prometheus)"
    ),
]

CAMERAS = {"top": 4, "side": 4}
FRAMES = 14
WINDOW = "30s"
MAY_BE_EMPTY = {"Alerts now", "GPU memory"}
"""Panels that show nothing at all where all is well, or where there is no GPU."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """Line 4, enrolled; an output that nobody answers at, so that its series move as well."""
    (nobody,) = free_ports(1)
    outputs = f'[webhooks.plc]\nurl = "http://127.0.0.1:{nobody}/verdicts"\n'
    with a_daemon(cameras=CAMERAS, lines={4: {"deadline_ms": 10_000}}, extra=outputs) as daemon:
        good = write_pictures(daemon.home / "good", range(8))
        daemon.enroll(4, good, "--product", "weave", wait_s=0)
        yield daemon.start()


@pytest.fixture(scope="module")
def prometheus(daemon: RunningDaemon) -> Iterator[Prometheus]:
    """It has seen every series at 0 before the first frame is sent, and all of FRAMES when a test asks."""
    with a_prometheus(daemon.home / "prometheus", scrapes=daemon.ports[2]) as server:
        until(lambda: server.number("min(aprilgan_worker_up)") == 1, "a first scrape")
        send_frames(daemon)
        calibrate(daemon)
        until(lambda: server.number("sum(aprilgan_verdicts_total)") >= FRAMES, "a scrape of all verdicts")
        until(lambda: server.number("aprilgan_enroll_total{action='calibrate'}") == 1, "the audit's new row")
        until(lambda: server.series("instance:aprilgan_frames_unaccounted") or None, "the recording rule")
        yield server


def send_frames(daemon: RunningDaemon) -> None:
    """FRAMES frames in two encodings, good and bad, one damaged, and a gap in a native sender's numbers."""
    with Camera(daemon, "top") as camera:
        for seed in range(8):
            camera.send(picture(100 + seed))
        assert camera.send(255 - picture(200, scratched=True))["decision"] == "reject"
        assert camera.send_jpeg(picture(201))["decision"] in {"accept", "review", "reject"}
        assert b"uninspected" in camera.send_bytes(damaged_jpeg())
    with a_dealer(daemon) as sender:
        for seq in (1, 2, 5):
            exchange(sender, native_message(seq, picture(300 + seq)))


def damaged_jpeg() -> bytes:
    """A JPEG whose header is whole and whose middle is not."""
    data = bytearray(simplejpeg.encode_jpeg(picture(202), colorspace="BGR"))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    return bytes(data[:-20] + b"\xff\xd9")


def calibrate(daemon: RunningDaemon) -> None:
    """A change of the line that SQL's audit counts."""
    more = write_pictures(daemon.home / "more", range(20, 24))
    daemon.admin("calibrate", "--line", "4", str(more), "--json")


def values_of(server: Prometheus, **ranges: str) -> dict[str, str]:
    """What Grafana puts for its variables when a person has chosen All."""
    chosen = {"instance": "instance", "line": "line", "camera": "camera", "gpu": "gpu"}
    return {
        name: "(" + "|".join(server.ask(f"label/{label}/values", **{"match[]": "{job='aprilgan'}"})) + ")"
        for name, label in chosen.items()
    } | ranges


def answered(
    server: Prometheus, expr: str, *, instant: bool, since: float
) -> list[tuple[dict[str, str], list[float]]]:
    """(labels, values) of each series, as the panel would get them."""
    if instant:
        return [(each["metric"], [float(each["value"][1])]) for each in server.series(expr)]
    found: list[dict[str, Any]] = server.ask("query_range", query=expr, start=since, end=time.time(), step="1s")[
        "result"
    ]
    return [(each["metric"], [float(value) for _, value in each["values"]]) for each in found]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_gets_data_with_the_labels_that_its_legend_shows(
    prometheus: Prometheus, dashboard: Path
) -> None:
    values = values_of(prometheus, __rate_interval=WINDOW, __range="5m")
    wrong = []
    for query in panel_queries(dashboard):
        expr = filled(query.expr, values)
        found = answered(prometheus, expr, instant=query.instant, since=time.time() - 60)
        if any(title in query.where for title in MAY_BE_EMPTY):
            continue
        if not any(math.isfinite(value) for _, numbers in found for value in numbers):
            wrong.append(f"{query.where}: no number for {expr}: {found[:2]}")
        if any(query.legend_labels - labels.keys() for labels, _ in found):
            wrong.append(f"{query.where}: legend {query.legend!r} of {found[0][0]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_variable_has_values_to_choose_from(prometheus: Prometheus, dashboard: Path) -> None:
    values = values_of(prometheus)
    for name, (selector, label) in variables(dashboard).items():
        assert prometheus.ask(f"label/{label}/values", **{"match[]": filled(selector, values)}), name


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_mark_on_the_time_axis_is_a_query_and_the_calibration_made_one(
    prometheus: Prometheus, dashboard: Path
) -> None:
    values = values_of(prometheus)
    since = time.time() - 60
    marks = {
        query.where: answered(prometheus, filled(query.expr, values), instant=False, since=since)
        for query in annotation_queries(dashboard)
    }
    changed = next(found for where, found in marks.items() if "threshold changed" in where)
    assert [labels for labels, _ in changed] == [{"line": "4", "action": "calibrate"}]


def test_every_rule_evaluates_without_an_error(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else None

    found = until(evaluated, "an evaluation of every rule")
    assert {rule["name"] for rule in found} == {
        *(rule["alert"] for rule in rules("alert")),
        *(rule["record"] for rule in rules("record")),
    }
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []


def test_the_damaged_picture_fires_its_alert_and_a_healthy_daemon_fires_no_other_page(
    prometheus: Prometheus,
) -> None:
    firing = 'ALERTS{alertstate="firing",severity="page"}'
    until(lambda: prometheus.series(firing) or None, "an alert")
    pages = {(each["metric"]["alertname"], each["metric"].get("reason")) for each in prometheus.series(firing)}
    assert pages == {("AprilganPartsUninspected", "decode")}


def test_prometheus_counts_what_the_daemon_counts_and_no_frame_is_unaccounted_for(
    daemon: RunningDaemon, prometheus: Prometheus
) -> None:
    assert prometheus.number("sum(aprilgan_verdicts_total)") == daemon.total("verdicts_total")
    assert prometheus.number("sum(aprilgan_frame_gaps_total)") == daemon.total("frame_gaps_total") == 2
    assert prometheus.number("instance:aprilgan_frames_unaccounted") == 0
