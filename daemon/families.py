"""The metric families of service.md section 5: names, labels, and every value a label can take.

Every child exists from the start: an `increase() > 0` alert never fires on a series that is born at 1.
Values outside the declared ones count under `unknown`, so nothing from the wire ever becomes a label.
Knows nothing of frames or workers; daemon.metrics feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from daemon.batching import CloseReason
from daemon.flow import Decision, Encoding, RefusalReason, ThresholdState, UninspectedReason

NAMESPACE = "aprilgan"
UNKNOWN = "unknown"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
# No bucket below 0: a histogram with one loses its _sum, and strict parsers then refuse it. Misses are le="0".
SLACK_SECONDS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.5, 5.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
# Scores are standardised by the product's own good samples (method.md), so good parts lie near 0.
SCORES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 50.0, 100.0)

STAGES = ("decode", "encode", "match", "heatmap", "outbox")

RETRY_REASONS = ("error", "oom")
RESTART_REASONS = ("exited", "start_timeout", "silent", "hung")
CONNECTION_EVENTS = ("accepted", "disconnected", "handshake_failed", "key_refused", "unreachable")
BANK_LOADS = (
    *product(("redis",), ("ok", "miss", "bad_sha", "unavailable")),
    *product(("file",), ("ok", "missing", "bad_sha")),
)
HEATMAP_RESULTS = ("written", "skipped", "failed")
DEPENDENCIES = ("redis", "db", "outbox")
ROW_RESULTS = ("inserted", "ignored")

Child = TypeVar("Child", Counter, Histogram)


class Family(Generic[Child]):
    """One metric and its children, made all at once. Looking a child up never raises and never makes one."""

    def __init__(self, metric: Child, labels: Sequence[str], children: Iterable[Sequence[str]]) -> None:
        self._children: dict[tuple[str, ...], Child] = {
            tuple(values): metric.labels(*values) for values in children
        }
        self._unknown: Child = metric.labels(*[UNKNOWN] * len(labels))

    def __call__(self, *values: object) -> Child:
        """The child of these label values, or the `unknown` one."""
        return self._children.get(tuple(str(value) for value in values), self._unknown)


class Families:
    """All families, in one registry.

    cameras: (name, line) pairs of the configuration. workers: the values of the label `gpu`.
    checks: names of the readiness checks.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        lines: Sequence[str],
        cameras: Sequence[tuple[str, str]],
        workers: Sequence[str],
        checks: Sequence[str],
    ) -> None:
        self._registry = registry
        # recovered frames may belong to a line that has left the configuration since
        every_line = (*lines, UNKNOWN)
        self._declare_frames(every_line, cameras)
        self._declare_verdicts(lines, every_line)
        self._declare_work(workers)
        self._declare_service(lines, checks)

    def _declare_frames(self, lines: Sequence[str], cameras: Sequence[tuple[str, str]]) -> None:
        streams = [(line, camera) for camera, line in cameras]
        names = [camera for camera, _ in cameras]
        self.received = self._counters(
            "frames_received",
            "Messages that cameras sent, whatever became of them.",
            ("line", "camera", "encoding"),
            [(*stream, encoding) for stream in streams for encoding in (*Encoding, UNKNOWN)],
        )
        self.refused = self._counters(
            "frames_refused",
            "Messages answered ERR or BUSY.",
            ("camera", "reason"),
            product((*names, UNKNOWN), RefusalReason),
        )
        self.duplicates = self._counters(
            "frames_duplicate",
            "Replays answered with their first verdict.",
            ("camera",),
            product(names),
        )
        self.gaps = self._counters(
            "frame_gaps",
            "Sequence numbers of a native sender's life that never arrived.",
            ("camera",),
            product(names),
        )
        self.last_frame = self._gauges(
            "last_frame_timestamp_seconds",
            "When the camera's last frame arrived, Unix time; 0: none in this life.",
            ("camera",),
            product(names),
        )
        self.connections = self._counters(
            "camera_connections", "Events of the camera socket.", ("event",), product(CONNECTION_EVENTS)
        )
        self.recovered = Counter(
            "recovered",
            "Pending frames of an earlier life found at start.",
            namespace=NAMESPACE,
            registry=self._registry,
        )
        self.in_flight = self._gauge("in_flight", "Frames owned and not yet answered.")
        self.queue_depth = self._gauges(
            "queue_depth", "Frames owned and not yet answered, by line.", ("line",), product(lines)
        )

    def _declare_verdicts(self, lines: Sequence[str], every_line: Sequence[str]) -> None:
        self.verdicts = self._counters(
            "verdicts",
            "Durable verdicts.",
            ("line", "verdict"),
            product(every_line, Decision),
        )
        self.uninspected = self._counters(
            "uninspected",
            "Parts without a score, by the reason why.",
            ("line", "reason"),
            product(every_line, UninspectedReason),
        )
        self.conflicts = self._counters(
            "verdict_conflicts",
            "Second, different answers to a frame; the first stands.",
            ("line",),
            product(lines),
        )
        self.end_to_end = self._histograms(
            "frame_end_to_end_seconds", "Receipt to durable verdict.", ("line",), product(lines), SECONDS
        )
        self.queue_wait = self._histogram(
            "queue_wait_seconds", "Receipt to the start of the frame's batch.", SECONDS
        )
        self.slack = self._histogram(
            "deadline_slack_seconds",
            "Time left to the deadline at the verdict; negative: missed.",
            SLACK_SECONDS,
        )
        self.deadline_misses = self._counters(
            "deadline_misses", "Verdicts that came after their deadline.", ("line",), product(lines)
        )
        self.score = self._histograms(
            "anomaly_score", "Streaming scores of inspected parts.", ("line",), product(lines), SCORES
        )

    def _declare_work(self, workers: Sequence[str]) -> None:
        self.stage_seconds = self._histograms(
            "stage_seconds",
            "Duration of one stage of one batch (outbox: of one group commit).",
            ("stage",),
            product(STAGES),
            SECONDS,
        )
        self.batch_size = self._histogram("batch_size", "Frames in a batch.", BATCH_SIZES)
        self.batch_seconds = self._histograms(
            "batch_seconds",
            "Encoding and matching a batch, by the size it was padded to.",
            ("bucket",),
            product(str(size) for size in BATCH_SIZES),
            SECONDS,
        )
        self.batch_close = self._counters(
            "batch_close", "Batches by what closed them.", ("reason",), product(CloseReason)
        )
        self.batch_retries = self._counters(
            "batch_retries", "Batches tried again.", ("reason",), product(RETRY_REASONS)
        )
        self.worker_up = self._gauges("worker_up", "1 while the worker is ready.", ("gpu",), product(workers))
        self.worker_restarts = self._counters(
            "worker_restarts",
            "Workers replaced, by why.",
            ("gpu", "reason"),
            product(workers, RESTART_REASONS),
        )
        self.worker_memory = self._gauges(
            "worker_resident_memory_bytes", "Resident memory of the worker.", ("gpu",), product(workers)
        )
        self.selftest = self._gauges(
            "selftest_success",
            "1 when the worker's golden images scored as at enrolment; 0: failed, or none enrolled yet.",
            ("gpu",),
            product(workers),
        )
        self.bank_loads = self._counters("bank_loads", "Banks fetched.", ("source", "result"), BANK_LOADS)
        self.bank_bytes = self._gauges("bank_bytes", "Memory of the loaded banks.", ("gpu",), product(workers))
        self.heatmaps = self._counters("heatmaps", "Heatmap files.", ("result",), product(HEATMAP_RESULTS))
        self.kept_frames = self._counters(
            "kept_frames", "Camera pictures kept as files.", ("result",), product(HEATMAP_RESULTS)
        )

    def _declare_service(self, lines: Sequence[str], checks: Sequence[str]) -> None:
        self.build_info = Gauge(
            "build_info",
            "1, labelled with what runs.",
            ("version", "python"),
            namespace=NAMESPACE,
            registry=self._registry,
        )
        self.ready = self._gauges("ready", "1 where this readiness check passes.", ("reason",), product(checks))
        self.score_threshold = self._gauges(
            "score_threshold",
            "Scores above it reject; NaN while the line has no bank.",
            ("line",),
            product(lines),
        )
        self.threshold_state = self._gauges(
            "threshold_state",
            "1 for the state of the line's threshold.",
            ("line", "state"),
            product(lines, ThresholdState),
        )
        self.bank_info = Gauge(
            "bank_info",
            "1, labelled with the product and bank that the line runs.",
            ("line", "product", "bank"),
            namespace=NAMESPACE,
            registry=self._registry,
        )
        self.dependency_errors = self._counters(
            "dependency_errors", "Failed calls.", ("dependency",), product(DEPENDENCIES)
        )
        self.redis_up = self._gauge("redis_up", "1 while Redis answers.")
        self.db_up = self._gauge("db_up", "1 while SQL answers.")
        self.rows = self._counters(
            "db_rows", "Verdict rows that SQL took, or had already.", ("result",), product(ROW_RESULTS)
        )
        self.outbox_rows = self._gauge("outbox_rows", "Verdicts that wait for SQL.")
        self.outbox_max_rows = self._gauge("outbox_max_rows", "Bound of aprilgan_outbox_rows.")
        self.outbox_bytes = self._gauge("outbox_bytes", "Size of the outbox file and its journal.")
        self.outbox_oldest_age = self._gauge(
            "outbox_oldest_age_seconds", "Age of the oldest verdict that waits for SQL."
        )
        self.storage_free = self._gauge("storage_free_bytes", "Free space where the state folder lies.")

    def _counters(
        self, name: str, text: str, labels: Sequence[str], children: Iterable[Sequence[str]]
    ) -> Family[Counter]:
        metric = Counter(name, text, labels, namespace=NAMESPACE, registry=self._registry)
        return Family(metric, labels, children)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=NAMESPACE, registry=self._registry)

    def _gauges(
        self, name: str, text: str, labels: Sequence[str], children: Iterable[Sequence[str]]
    ) -> dict[tuple[str, ...], Gauge]:
        metric = Gauge(name, text, labels, namespace=NAMESPACE, registry=self._registry)
        return {tuple(values): metric.labels(*values) for values in children}

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, namespace=NAMESPACE, registry=self._registry, buckets=buckets)

    def _histograms(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        children: Iterable[Sequence[str]],
        buckets: Sequence[float],
    ) -> Family[Histogram]:
        metric = Histogram(name, text, labels, namespace=NAMESPACE, registry=self._registry, buckets=buckets)
        return Family(metric, labels, children)
