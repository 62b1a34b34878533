"""Prometheus and Grafana files: they parse, and they ask only for what the daemon really tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from daemon.metrics import PrometheusObserver
from daemon.readiness import CHECKS
from daemon.setting_sections import CameraSettings, LineSettings
from daemon.settings import load_settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules" / "aprilgan.rules.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian: package prometheus; it cannot be had without root)",
)


@pytest.fixture(scope="module")
def exposition() -> bytes:
    observer = PrometheusObserver(
        lines=[LineSettings(id=4)], cameras=[CameraSettings(name="top", line=4)], checks=CHECKS
    )
    return generate_latest(observer.registry)


def told(exposition: bytes) -> set[str]:
    """Every sample name that /metrics has, without its labels."""
    lines = exposition.decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


def asked(text: str) -> set[str]:
    """Every sample name that queries in `text` ask for."""
    return set(re.findall(r"\baprilgan_[a-z0-9_]+", text))


def queries(dashboard: Path) -> list[str]:
    panels: list[dict[str, Any]] = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_of_the_alert_rules_exists(exposition: bytes) -> None:
    rules = yaml.safe_load(RULES.read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 8
    assert asked(" ".join(expressions)) <= told(exposition)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_the_dashboard_exists(dashboard: Path, exposition: bytes) -> None:
    assert len(queries(dashboard)) > 10
    assert asked(" ".join(queries(dashboard))) <= told(exposition)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_label_a_query_selects_or_groups_by_exists(dashboard: Path, exposition: bytes) -> None:
    labels = set(re.findall(r"[{,]([a-z_]+)=\"", exposition.decode()))
    text = " ".join(queries(dashboard))
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", text) for name in names.split(",")}
    selected = set(re.findall(r"[{,]([a-z_]+)(?:=|!=|=~|!~)\"", text))
    assert grouped | selected <= labels


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_ids_of_their_own_say_what_they_show_and_do_not_overlap(dashboard: Path) -> None:
    panels = json.loads(dashboard.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert all(panel["title"] and panel["description"] for panel in panels)


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/aprilgan.yml").read_text())
    uid = sources["datasources"][0]["uid"]
    for dashboard in DASHBOARDS:
        panels = json.loads(dashboard.read_text())["panels"]
        assert {panel["datasource"]["uid"] for panel in panels} == {uid}


def test_prometheus_scrapes_where_the_example_configuration_serves() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    example = tomllib.loads((DEPLOY / "aprilgan.toml").read_text())
    targets = scrape["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [example["http"]["bind"]]


def test_the_example_configuration_is_accepted() -> None:
    settings = load_settings(DEPLOY / "aprilgan.toml")
    assert settings.lines[0].id == 4


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_exposition(exposition: bytes) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@needs_promtool
def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    for command in (
        ["check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        ["test", "rules", str(RULES.with_name("aprilgan.rules.test.yml"))],
    ):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
