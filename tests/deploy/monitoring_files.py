"""Dashboards and rules as tests read them: panels, queries with their variables filled in, selectors.

Knows nothing of PromQL but its selectors, `NAME{MATCHERS}`; whether an expression is one is for Prometheus to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"
RULES = DEPLOY / "prometheus" / "rules" / "aprilgan.rules.yml"
RULE_TESTS = RULES.with_name("aprilgan.rules.test.yml")
DATA_SOURCES = DEPLOY / "grafana" / "provisioning" / "datasources" / "aprilgan.yml"
PROVIDERS = DEPLOY / "grafana" / "provisioning" / "dashboards" / "aprilgan.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

_SELECTOR = re.compile(r"(?<![\w:])((?:\w+:)?aprilgan_\w+|up|ALERTS)(?![\w:])(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question of a dashboard. legend: Grafana's template of a series' name. instant: no range."""

    where: str
    expr: str
    legend: str = ""
    instant: bool = False

    @property
    def legend_labels(self) -> set[str]:
        """Labels that the legend shows."""
        return set(re.findall(r"{{(\w+)}}", self.legend))

    @property
    def grouped_by(self) -> set[str]:
        """Labels that aggregations and joins name."""
        named = re.findall(r"(?:by|on|group_left) \(([^)]*)\)", self.expr)
        return {name.strip() for names in named for name in names.split(",")} - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """NAME{MATCHERS}: a matcher is (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def demands(self) -> Iterator[Mapping[str, str]]:
        """Label values that must exist for the selector to mean anything, one alternative at a time.

        A negated value must exist as well: misspelt it excludes nothing, and nobody notices.
        """
        yield {}
        for label, operator, value in self.matchers:
            values = value.split("|") if "~" in operator else [value]
            yield from ({label: each.strip("()")} for each in values)


@cache
def load(dashboard: Path) -> dict[str, Any]:
    """The dashboard's JSON."""
    return dict(json.loads(dashboard.read_text(encoding="utf-8")))


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """Every panel that asks something; rows are only headings."""
    return [panel for panel in load(dashboard)["panels"] if panel["type"] != "row"]


def panel_queries(dashboard: Path) -> list[Query]:
    """What the panels ask."""
    return [
        Query(
            where=f"{dashboard.stem} / {panel['title']} / {target['refId']}",
            expr=target["expr"],
            legend=target["legendFormat"],
            instant=target["instant"],
        )
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def annotation_queries(dashboard: Path) -> list[Query]:
    """What the marks on the time axis ask."""
    return [
        Query(where=f"{dashboard.stem} / {note['name']}", expr=note["target"]["expr"], legend=note["titleFormat"])
        for note in load(dashboard)["annotations"]["list"]
    ]


def variables(dashboard: Path) -> dict[str, tuple[str, str]]:
    """Variable -> (selector, label) of its `label_values`."""
    found = {}
    for variable in load(dashboard)["templating"]["list"]:
        match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        if match is None:
            raise ValueError(f"{dashboard.name}: expected label_values(SELECTOR, LABEL), got {variable['query']}")
        found[variable["name"]] = (match[1], match[2])
    return found


def all_queries(dashboard: Path) -> Iterator[Query]:
    """What panels, marks and variables ask."""
    yield from panel_queries(dashboard)
    yield from annotation_queries(dashboard)
    for name, (selector, label) in variables(dashboard).items():
        yield Query(where=f"{dashboard.stem} / ${name}", expr=selector, legend=f"{{{{{label}}}}}")


def rules(kind: str = "alert") -> list[dict[str, Any]]:
    """The rules that have this key: "alert" or "record"."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def filled(expr: str, values: Mapping[str, str]) -> str:
    """The expression with Grafana's $variables in place. Raises KeyError for one that has no value."""
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expr)


def selectors(expr: str) -> list[Selector]:
    """Every selector in a PromQL expression."""
    return [
        Selector(name=name, matchers=tuple(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(expr)
    ]


def kebab(name: str) -> str:
    """AprilganDown -> aprilgan-down."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
