"""The metric families of service.md section 5: names, labels, and every value a label can take.

Every child exists from the start, those of a line or camera from the moment it is configured: an `increase() > 0`
alert never fires on a series that is born at 1.
Values outside the declared ones count under `unknown`, so nothing from the wire ever becomes a label.
Knows nothing of frames or workers; daemon.metrics feeds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge

from daemon.batching import CloseReason
from daemon.flow import Decision, Encoding, RefusalReason, ThresholdState, UninspectedReason
from daemon.metric_family import CAMERA, LINE, UNKNOWN, MetricFamilies

NAMESPACE = "aprilgan"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
# No bucket below 0: a histogram with one loses its _sum, and strict parsers then refuse it. Misses are le="0".
SLACK_SECONDS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.5, 5.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
# Scores are standardised by the product's own good samples (method.md), so good parts lie near 0.
SCORES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 50.0, 100.0)

STAGES = ("decode", "encode", "match", "heatmap", "outbox")

RELOAD_RESULTS = ("ok", "invalid", "needs_restart")
RETRY_REASONS = ("error", "oom")
RESTART_REASONS = ("exited", "start_timeout", "silent", "hung")
CONNECTION_EVENTS = (
    "accepted",
    "disconnected",
    "handshake_failed",
    "key_refused",
    "no_room",
    "told_restart",
    "unreachable",
)
BANK_LOADS = (
    *product(("redis",), ("ok", "miss", "bad_sha", "unavailable")),
    *product(("file",), ("ok", "missing", "bad_sha")),
)
HEATMAP_RESULTS = ("written", "skipped", "failed")
DEPENDENCIES = ("redis", "db", "outbox")
ROW_RESULTS = ("inserted", "ignored")
LINE_ACTIONS = (
    *("enroll", "add-reference", "remove-reference", "propose", "calibrate"),
    *("assign", "rollback", "threshold", "drift"),
)
"""What daemon.record_rows.LineChange.action can be."""
DEVICE_MEMORY = (
    ("allocated", "cuda_memory_allocated_bytes", "GPU memory that the worker's tensors hold."),
    ("reserved", "cuda_memory_reserved_bytes", "GPU memory that the worker has taken, used or not."),
    ("free", "gpu_memory_free_bytes", "Memory of the GPU that nobody has taken."),
    ("total", "gpu_memory_total_bytes", "Memory of the GPU."),
)
"""Keys of link.WorkerStatus.device_memory, and their metrics. Not there without a GPU."""
DELIVERY_RESULTS = ("delivered", "failed", "refused")
DISK_STATES = ("ok", "low", "critical", "full")
PICTURE_CLASSES = ("accept", "review", "reject")


class Families(MetricFamilies):
    """All families, in one registry.

    workers: the values of the label `gpu`. checks: names of the readiness checks. sinks: names of the outputs.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        workers: Sequence[str],
        checks: Sequence[str],
        sinks: Sequence[str] = (),
    ) -> None:
        super().__init__(registry, NAMESPACE)
        # recovered frames may belong to a line that has left the configuration since
        self._declare_frames((LINE, UNKNOWN), [(CAMERA, LINE)])
        self._declare_verdicts((LINE,), (LINE, UNKNOWN))
        self._declare_work(workers)
        self._declare_service((LINE,), checks)
        self._declare_sinks(sinks)
        self._declare_storage()

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
        self._declare_drift(lines)

    def _declare_drift(self, lines: Sequence[str]) -> None:
        self.drift_watched = self._gauges(
            "drift_watched", "1 where good parts' scores are watched for drift.", ("line",), product(lines)
        )
        self.drift_alarm = self._gauges(
            "drift_alarm", "1 from a drift alarm until a person begins the watch anew.", ("line",), product(lines)
        )
        self.drift_evidence = self._gauges(
            "drift_evidence", "Logarithmic evidence of drift; 1 raises the alarm.", ("line",), product(lines)
        )
        self.drift_alarms = self._counters("drift_alarms", "Drift alarms raised.", ("line",), product(lines))

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
        self.device_memory = {key: self._reported(name, text, ("gpu",)) for key, name, text in DEVICE_MEMORY}
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
        self.enroll = self._counters(
            "enroll",
            "Changes of what a line scores with, as SQL's audit has them, by the command that made them.",
            ("line", "action"),
            product(lines, LINE_ACTIONS),
        )
        self.reloads = self._counters(
            "config_reloads",
            "SIGHUPs, by what became of the settings; all but ok left the old ones as they were.",
            ("result",),
            product(RELOAD_RESULTS),
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

    def _declare_storage(self) -> None:
        self.storage_free = self._gauge("storage_free_bytes", "Free space where the state folder lies.")
        self.storage_state = self._gauges(
            "storage_state", "1 for how the disk is.", ("state",), product(DISK_STATES)
        )
        self.picture_bytes = self._gauges(
            "picture_bytes",
            "Heatmaps and camera pictures on disk, by decision; counted anew after a start.",
            ("class",),
            product(PICTURE_CLASSES),
        )
        self.retention_deleted = self._counters(
            "retention_deleted",
            "Pictures deleted, by decision; orphan: of no part any more.",
            ("class",),
            product((*PICTURE_CLASSES, "orphan")),
        )

    def _declare_sinks(self, sinks: Sequence[str]) -> None:
        self.sink_deliveries = self._counters(
            "sink_deliveries",
            "Verdicts an output delivered, or gave up because the other end refuses them; attempts that failed.",
            ("sink", "result"),
            product(sinks, DELIVERY_RESULTS),
        )
        self.sink_lost = self._counters(
            "sink_lost", "Verdicts an output missed because it fell too far behind.", ("sink",), product(sinks)
        )
        self.sink_up = self._gauges(
            "sink_up", "1 while the output's last attempt worked.", ("sink",), product(sinks)
        )
        self.sink_lag = self._gauges(
            "sink_lag_rows",
            "Verdicts in the outbox that the output has not been through.",
            ("sink",),
            product(sinks),
        )
