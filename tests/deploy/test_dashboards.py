"""The dashboards as Grafana and people take them: whole, bounded, provisioned, and readable without seeing red.

Whether what they ask for exists is for test_monitoring; how they look is not: Grafana is not installed.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.colour_vision import distance
from tests.deploy.monitoring_files import (
    DASHBOARDS,
    DATA_SOURCES,
    DEPLOY,
    PROMETHEUS,
    PROVIDERS,
    all_queries,
    load,
    panel_queries,
    panels,
    variables,
)

FAR_ENOUGH = 15
"""CIELAB distance; the closest two of Okabe and Ito's colours are 16 apart for the eyes that see them closest."""
DYNAMIC_LABELS = {"camera", "sink"}
"""A plant may have hundreds of these."""

every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)


@every_dashboard
def test_queries_look_at_bounded_windows_and_series(dashboard: Path) -> None:
    for query in all_queries(dashboard):
        windows = set(re.findall(r"\[([^\]]*)\]", query.expr))
        assert windows <= {"$__rate_interval", "$__range", "1m"}, query.where
        assert ".*" not in query.expr, query.where
        assert ".+" not in query.expr, query.where
    for query in panel_queries(dashboard):
        if DYNAMIC_LABELS & query.legend_labels:
            assert query.expr.startswith(("topk(", "bottomk(", "aprilgan_sink_up")), query.where
    # without an `allValue`, All is the list of what there is, not a regular expression that matches anything
    assert not any("allValue" in variable for variable in load(dashboard)["templating"]["list"])


@every_dashboard
def test_a_dashboard_asks_with_the_variables_that_it_has_and_has_none_for_show(dashboard: Path) -> None:
    text = " ".join(query.expr for query in all_queries(dashboard))
    used = {name for name in re.findall(r"\$(\w+)", text) if not name.startswith("__")}
    assert used == set(variables(dashboard))


@every_dashboard
def test_panels_have_ids_of_their_own_fill_24_columns_and_do_not_overlap(dashboard: Path) -> None:
    placed = load(dashboard)["panels"]
    assert len({panel["id"] for panel in placed}) == len(placed)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in placed)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert set(cells) == {(x, y) for x in range(24) for y in range(max(y for _, y in cells) + 1)}


@every_dashboard
def test_every_panel_says_in_a_sentence_or_more_what_to_do(dashboard: Path) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert len(panel["description"].split()) >= 8, panel["title"]
        assert panel["description"].rstrip().endswith("."), panel["title"]
        if panel["type"] not in ("table", "heatmap"):  # tables have columns, heatmaps an axis of their own
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@every_dashboard
def test_no_two_colours_of_a_panel_look_alike_to_colour_blind_people_and_states_have_words(
    dashboard: Path,
) -> None:
    for panel in panels(dashboard):
        text = json.dumps(panel["fieldConfig"])
        assert not re.search(r'"(?:color|fixedColor)": "(?!#)', text), f"{panel['title']}: a colour by its name"
        assert "palette-classic" not in text, panel["title"]
        for one, other in combinations(sorted(set(re.findall(r"#[0-9A-F]{6}", text))), 2):
            assert distance(one, other) >= FAR_ENOUGH, f"{panel['title']}: {one} and {other}"
        for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
            assert all(option["text"] for option in mapping["options"].values()), panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["color"]["scheme"] == "Viridis"


@every_dashboard
def test_a_dashboard_has_the_schema_of_grafana_12_and_asks_the_provisioned_data_source(dashboard: Path) -> None:
    board = load(dashboard)
    assert board["schemaVersion"] == 41
    assert board["uid"] == f"aprilgan-{dashboard.stem}"
    source = yaml.safe_load(DATA_SOURCES.read_text())["datasources"][0]
    assert data_sources(board) == {(source["type"], source["uid"])}


def data_sources(node: Any) -> set[tuple[str, str]]:
    """Every data source that is named anywhere below."""
    if isinstance(node, list):
        return set().union(*map(data_sources, node))
    if not isinstance(node, dict):
        return set()
    here = {(node["datasource"]["type"], node["datasource"]["uid"])} if "datasource" in node else set()
    return here.union(*map(data_sources, node.values()))


def test_the_provider_reads_the_folder_that_the_dashboards_are_installed_into() -> None:
    provider = yaml.safe_load(PROVIDERS.read_text())["providers"][0]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in (DEPLOY / "INSTALL.md").read_text()
    assert len({load(dashboard)["uid"] for dashboard in DASHBOARDS}) == len(DASHBOARDS) == 3


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    source = yaml.safe_load(DATA_SOURCES.read_text())["datasources"][0]
    scraped_every = yaml.safe_load(PROMETHEUS.read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped_every
