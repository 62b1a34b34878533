"""One metric and all its children, made before they count, for configured lines and cameras alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

UNKNOWN = "unknown"
LINE, CAMERA = "{line}", "{camera}"
"""Stand for each configured line and camera where children are declared; together: each camera and its line."""

Child = TypeVar("Child", Counter, Histogram)


class Streams:
    """The lines and cameras that labels can name. cameras: (name, line) pairs."""

    def __init__(self, lines: Sequence[str], cameras: Sequence[tuple[str, str]]) -> None:
        self._lines = lines
        self._cameras = cameras

    def fill(self, declared: Sequence[str]) -> list[tuple[str, ...]]:
        """The label values that a declared child stands for."""
        if CAMERA in declared:
            pairs = self._cameras
        elif LINE in declared:
            pairs = [(CAMERA, line) for line in self._lines]
        else:
            pairs = [(CAMERA, LINE)]
        return [
            tuple({LINE: line, CAMERA: camera}.get(value, value) for value in declared) for camera, line in pairs
        ]


class Family(Generic[Child]):
    """One metric and its children, made all at once. Looking a child up never raises and never makes one."""

    def __init__(self, metric: Child, labels: Sequence[str], children: Iterable[Sequence[str]]) -> None:
        self._metric: Child = metric
        self._declared = [tuple(values) for values in children]
        self._children: dict[tuple[str, ...], Child] = {}
        self._unknown: Child = metric.labels(*[UNKNOWN] * len(labels))

    def __call__(self, *values: object) -> Child:
        """The child of these label values, or the `unknown` one."""
        return self._children.get(tuple(str(value) for value in values), self._unknown)

    def configure(self, streams: Streams) -> None:
        """Make what is missing. What a former line or camera counted stays: sums must not fall."""
        for values in (values for declared in self._declared for values in streams.fill(declared)):
            if values not in self._children:
                self._children[values] = self._metric.labels(*values)


class GaugeFamily(dict[tuple[str, ...], Gauge]):
    """The gauges of one metric by their label values."""

    def __init__(self, metric: Gauge, children: Iterable[Sequence[str]]) -> None:
        super().__init__()
        self._metric = metric
        self._declared = [tuple(values) for values in children]

    def configure(self, streams: Streams) -> None:
        """Make what is missing; what a former line or camera showed would be no longer true, and goes."""
        wanted = dict.fromkeys(values for declared in self._declared for values in streams.fill(declared))
        for values in [values for values in self if values not in wanted]:
            del self[values]
            self._metric.remove(*values)
        for values in wanted:
            if values not in self:
                self[values] = self._metric.labels(*values)


class ReportedGauge:
    """A gauge whose series exist only while somebody reports a value."""

    def __init__(self, metric: Gauge) -> None:
        self._metric = metric

    def show(self, labels: Sequence[str], value: float | None) -> None:
        """Show a value; None takes the series away."""
        if value is None:
            self._metric.remove(*labels)
        else:
            self._metric.labels(*labels).set(value)


class MetricFamilies:
    """Makes the families of one registry, and their children as the configuration changes."""

    def __init__(self, registry: CollectorRegistry, namespace: str) -> None:
        self._registry = registry
        self._namespace = namespace
        self._configurable: list[Family[Counter] | Family[Histogram] | GaugeFamily] = []

    def configure(self, *, lines: Sequence[str], cameras: Sequence[tuple[str, str]]) -> None:
        """Have the children of these lines and cameras, (name, line) pairs."""
        streams = Streams(lines, cameras)
        for family in self._configurable:
            family.configure(streams)

    def _counters(
        self, name: str, text: str, labels: Sequence[str], children: Iterable[Sequence[str]]
    ) -> Family[Counter]:
        metric = Counter(name, text, labels, namespace=self._namespace, registry=self._registry)
        family = Family(metric, labels, children)
        self._configurable.append(family)
        return family

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=self._namespace, registry=self._registry)

    def _gauges(
        self, name: str, text: str, labels: Sequence[str], children: Iterable[Sequence[str]]
    ) -> GaugeFamily:
        metric = Gauge(name, text, labels, namespace=self._namespace, registry=self._registry)
        family = GaugeFamily(metric, children)
        self._configurable.append(family)
        return family

    def _reported(self, name: str, text: str, labels: Sequence[str]) -> ReportedGauge:
        return ReportedGauge(Gauge(name, text, labels, namespace=self._namespace, registry=self._registry))

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, namespace=self._namespace, registry=self._registry, buckets=buckets)

    def _histograms(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        children: Iterable[Sequence[str]],
        buckets: Sequence[float],
    ) -> Family[Histogram]:
        metric = Histogram(name, text, labels, namespace=self._namespace, registry=self._registry, buckets=buckets)
        family = Family(metric, labels, children)
        self._configurable.append(family)
        return family
