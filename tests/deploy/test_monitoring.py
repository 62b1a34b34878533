"""Prometheus and Grafana files: they parse, and they ask only for what the daemon really tells."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from daemon.metrics import PrometheusObserver
from daemon.readiness import CHECKS
from daemon.setting_sections import CameraSettings, LineSettings
from daemon.settings import load_settings
from tests.daemon.test_metrics import a_status
from tests.deploy.monitoring_files import (
    DASHBOARDS,
    DEPLOY,
    PROMETHEUS,
    RULE_TESTS,
    RULES,
    all_queries,
    filled,
    kebab,
    panel_queries,
    rules,
    selectors,
)

VALUES = {"instance": "pc1", "line": "4", "camera": "top", "gpu": "0", "__rate_interval": "1m", "__range": "1h"}
SCRAPED = {"instance": "pc1", "job": "aprilgan"}
"""Labels that Prometheus adds to whatever it scrapes."""
OF_PROMETHEUS = {
    "up": [SCRAPED],
    "ALERTS": [{"alertname": "A", "alertstate": "firing", "severity": level} for level in ("page", "ticket")],
    "instance:aprilgan_frames_unaccounted": [{"instance": "pc1"}],
}
"""Series that Prometheus makes itself, the last by our own recording rule."""

# service.md section 5: family -> labels. Sample names, so counters end in _total and histograms have their _count.
FAMILIES: dict[str, set[str]] = {
    "build_info": {"version", "python"},
    "ready": {"reason"},
    "frames_received_total": {"line", "camera", "encoding"},
    "frames_refused_total": {"camera", "reason"},
    "frame_gaps_total": {"camera"},
    "last_frame_timestamp_seconds": {"camera"},
    "queue_depth": {"line"},
    "queue_wait_seconds_count": set(),
    "stage_seconds_count": {"stage"},
    "frame_end_to_end_seconds_count": {"line"},
    "deadline_misses_total": {"line"},
    "deadline_slack_seconds_count": set(),
    "batch_size_count": set(),
    "batch_seconds_count": {"bucket"},
    "batch_close_total": {"reason"},
    "batch_retries_total": {"reason"},
    "verdicts_total": {"line", "verdict"},
    "uninspected_total": {"line", "reason"},
    "verdict_conflicts_total": {"line"},
    "anomaly_score_count": {"line"},
    "score_threshold": {"line"},
    "worker_up": {"gpu"},
    "worker_restarts_total": {"gpu", "reason"},
    "selftest_success": {"gpu"},
    "bank_info": {"line", "product", "bank"},
    "bank_bytes": {"gpu"},
    "bank_loads_total": {"source", "result"},
    "redis_up": set(),
    "db_up": set(),
    "dependency_errors_total": {"dependency"},
    "outbox_rows": set(),
    "outbox_bytes": set(),
    "outbox_oldest_age_seconds": set(),
    "db_rows_total": {"result"},
    "heatmaps_total": {"result"},
    "storage_free_bytes": set(),
    "enroll_total": {"line", "action"},
    "config_reloads_total": {"result"},
    "retention_deleted_total": {"class"},
    "gpu_memory_free_bytes": {"gpu"},
    "gpu_memory_total_bytes": {"gpu"},
    "cuda_memory_allocated_bytes": {"gpu"},
    "cuda_memory_reserved_bytes": {"gpu"},
}
ON_A_GPU = {"allocated": 1, "reserved": 2, "free": 3, "total": 5}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian: package prometheus; it cannot be had without root)",
)
every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    """The registry of a daemon with one line, one camera, one output and a GPU, before anything happened."""
    observer = PrometheusObserver(
        lines=[LineSettings(id=4)],
        cameras=[CameraSettings(name="top", line=4)],
        checks=CHECKS,
        sinks=("plc",),
    )
    observer.worker_status(a_status(device_memory=ON_A_GPU))
    return observer.registry


@pytest.fixture(scope="module")
def told(registry: CollectorRegistry) -> dict[str, list[dict[str, str]]]:
    """Sample name -> the labels of each of its series, as Prometheus stores them."""
    series: dict[str, list[dict[str, str]]] = {**OF_PROMETHEUS}
    for family in registry.collect():
        for sample in family.samples:
            series.setdefault(sample.name, []).append({**sample.labels, **SCRAPED})
    return series


def assert_told(where: str, expr: str, told: dict[str, list[dict[str, str]]]) -> None:
    """Each selector names a metric that is told, and each label value it asks for exists there."""
    asked = selectors(expr)
    assert asked, f"{where}: asks for nothing of ours: {expr}"
    for selector in asked:
        for demand in selector.demands():
            matching = [each for each in told.get(selector.name, []) if demand.items() <= each.items()]
            assert matching, f"{where}: no series {selector.name}{demand}"


def test_every_selector_of_the_rules_selects_a_series_of_the_daemon(told: dict[str, list[dict[str, str]]]) -> None:
    assert len(rules("alert")) > 20
    for rule in (*rules("alert"), *rules("record")):
        assert_told(rule.get("alert", rule.get("record")), rule["expr"], told)


def test_the_recorded_series_are_those_that_the_dashboards_may_ask_for() -> None:
    assert {rule["record"] for rule in rules("record")} == {name for name in OF_PROMETHEUS if ":" in name}


@every_dashboard
def test_every_selector_of_a_dashboard_selects_a_series_of_the_daemon(
    dashboard: Path, told: dict[str, list[dict[str, str]]]
) -> None:
    assert len(panel_queries(dashboard)) > 10
    for query in all_queries(dashboard):
        assert_told(query.where, filled(query.expr, VALUES), told)


@every_dashboard
def test_every_label_that_a_query_groups_by_or_shows_is_on_what_it_selects(
    dashboard: Path, told: dict[str, list[dict[str, str]]]
) -> None:
    for query in all_queries(dashboard):
        names = {selector.name for selector in selectors(query.expr)}
        labels = {label for name in names for series in told.get(name, []) for label in series}
        assert query.grouped_by | query.legend_labels <= labels, query.where


def test_every_family_of_the_specification_is_told_with_its_labels(
    told: dict[str, list[dict[str, str]]],
) -> None:
    labels = {name: set(series[0]) - SCRAPED.keys() for name, series in told.items()}
    assert {f"aprilgan_{name}": wanted for name, wanted in FAMILIES.items()}.items() <= labels.items()


def test_every_family_is_on_a_dashboard_or_in_a_rule(told: dict[str, list[dict[str, str]]]) -> None:
    texts = [query.expr for dashboard in DASHBOARDS for query in all_queries(dashboard)]
    texts += [rule["expr"] for rule in (*rules("alert"), *rules("record"))]
    asked = {stem(selector.name) for text in texts for selector in selectors(text)}
    unseen = {stem(name) for name in told} - asked
    assert unseen == {"aprilgan_process_virtual_memory_bytes"}, unseen


def stem(name: str) -> str:
    """A histogram's name without what tells its series apart."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_every_alert_says_how_urgent_it_is_what_happened_and_which_section_of_the_runbook_helps() -> None:
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["runbook"] == f"RUNBOOK.md#{kebab(rule['alert'])}"
    assert len({rule["alert"] for rule in rules("alert")}) == len(rules("alert"))


def test_every_alert_is_tested_where_it_fires_and_where_it_does_not() -> None:
    cases = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    moments = [moment for case in cases for moment in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules("alert")}
    assert {moment["alertname"] for moment in moments if moment["exp_alerts"]} == names
    assert {moment["alertname"] for moment in moments if not moment["exp_alerts"]} == names


def test_prometheus_scrapes_where_the_example_configuration_serves() -> None:
    scrape = yaml.safe_load(PROMETHEUS.read_text())
    example = tomllib.loads((DEPLOY / "aprilgan.toml").read_text())
    targets = scrape["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [example["http"]["bind"]]


def test_the_example_configuration_is_accepted() -> None:
    settings = load_settings(DEPLOY / "aprilgan.toml")
    assert settings.lines[0].id == 4


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_exposition(registry: CollectorRegistry) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", PROMETHEUS), ("check", "rules", RULES), ("test", "rules", RULE_TESTS)],
    ids=["configuration", "rules", "tests of the rules"],
)
def test_promtool_accepts(arguments: tuple[object, ...]) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_reads_every_question_of_the_dashboards(tmp_path: Path) -> None:
    questions = [query for dashboard in DASHBOARDS for query in all_queries(dashboard)]
    recorded = [
        {"record": f"question:{number}", "expr": filled(query.expr, VALUES)}
        for number, query in enumerate(questions)
    ]
    path = tmp_path / "questions.rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": recorded}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
