"""The observer that counts for Prometheus. Which families there are stands in daemon.families.

Conservation in one life, summed over all children and read at rest:
`frames_received + recovered == verdicts + frames_refused + frames_duplicate + in_flight`.

Hooks take what ingress hands them and must not raise: labels outside the configuration count as `unknown`.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics

from daemon import __version__
from daemon.drift_watch import DriftWatch
from daemon.families import NAMESPACE, Families
from daemon.flow import Decision, RawFrame, Refusal, ThresholdState, UninspectedReason, Verdict
from daemon.link import BatchReport, WorkerStatus
from daemon.metric_family import UNKNOWN
from daemon.observer import Observer
from daemon.setting_sections import CameraSettings, LineSettings


class PrometheusObserver(Observer):
    """Counts everything into `registry`.

    lines, cameras: the configuration; the only source of label values. workers: values of the label `gpu`.
    checks: names of the readiness checks. sinks: names of the outputs. drift: the watch that verdicts and
    heartbeats are handed on to; None watches nothing. state_dir: whose file system's free space is shown.
    """

    def __init__(
        self,
        *,
        lines: Sequence[LineSettings],
        cameras: Sequence[CameraSettings],
        workers: Sequence[str] = ("0",),
        checks: Sequence[str] = (),
        sinks: Sequence[str] = (),
        drift: DriftWatch | None = None,
        state_dir: Path = Path("."),
        outbox_max_rows: int = 0,
    ) -> None:
        # a second series a counter, which nothing reads
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(namespace=NAMESPACE, registry=self.registry)
        self._families = Families(self.registry, workers=workers, checks=checks, sinks=sinks)
        self._families.build_info.labels(__version__, platform.python_version()).set(1)
        self._families.outbox_max_rows.set(outbox_max_rows)
        self._families.storage_free.set_function(lambda: _free_bytes(state_dir))
        self._drift = drift
        self._cumulative = _Cumulative()
        self._banks: dict[str, tuple[str, str]] = {}
        self._lines: tuple[str, ...] = ()
        self._counted: set[str] = set()
        self.configure(lines=lines, cameras=cameras)

    def configure(self, *, lines: Sequence[LineSettings], cameras: Sequence[CameraSettings]) -> None:
        """Count for these lines and cameras from now on. What former ones counted stays, what they showed goes."""
        before, self._lines = self._lines, tuple(str(line.id) for line in lines)
        self._counted.update(self._lines)
        self._families.configure(
            lines=self._lines, cameras=[(camera.name, str(camera.line)) for camera in cameras]
        )
        for line in set(before) - set(self._lines):
            self._families.bank_info.remove(line, *self._banks.pop(line))
        for line in set(self._lines) - set(before):
            self._banks[line] = ("", "")
            self._families.bank_info.labels(line, "", "").set(0)
            self._show_threshold(line, {})

    def frame_received(self, frame: RawFrame) -> None:
        identity = frame.identity
        self._families.received(identity.line, identity.camera, frame.encoding).inc()
        _set(self._families.last_frame, (identity.camera,), time.time())

    def message_unreadable(self) -> None:
        self._families.received(UNKNOWN, UNKNOWN, UNKNOWN).inc()

    def frame_refused(self, refusal: Refusal, *, line: int | None) -> None:
        self._families.refused(refusal.camera, refusal.reason).inc()

    def duplicate(self, frame: RawFrame) -> None:
        self._families.duplicates(frame.identity.camera).inc()

    def frame_gap(self, camera: str, line: int, missing: int) -> None:
        self._families.gaps(camera).inc(max(0, missing))

    def recovered(self, count: int) -> None:
        self._families.recovered.inc(count)

    def verdict(self, verdict: Verdict, *, slack_s: float) -> None:
        families = self._families
        line = self._known_line(verdict.line)
        families.verdicts(line, verdict.decision).inc()
        if self._drift is not None and self._drift.take(verdict):
            families.drift_alarms(line).inc()
            _set(families.drift_alarm, (line,), 1)
        if verdict.decision is Decision.UNINSPECTED:
            families.uninspected(line, verdict.reason).inc()
        if verdict.score is not None and math.isfinite(verdict.score):
            families.score(line).observe(verdict.score)
        if verdict.queue_ms is not None:
            families.queue_wait.observe(verdict.queue_ms / 1e3)
        if verdict.reason == UninspectedReason.RESTART:
            return  # its clock stood still with the earlier life: no time is worth showing
        families.end_to_end(line).observe(verdict.total_ms / 1e3)
        families.slack.observe(slack_s)
        if slack_s < 0 or verdict.reason == UninspectedReason.DEADLINE:
            families.deadline_misses(line).inc()

    def verdict_conflict(self, line: int) -> None:
        self._families.conflicts(line).inc()

    def in_flight(self, count_by_line: dict[int, int]) -> None:
        self._families.in_flight.set(sum(count_by_line.values()))
        for line in self._lines:
            _set(self._families.queue_depth, (line,), count_by_line.get(int(line), 0))

    def turn(self, *, pending: int, verdicts: int, seconds: float) -> None:
        self._families.stage_seconds("outbox").observe(seconds)

    def outbox(self, *, rows: int, bytes_used: int, oldest_age_s: float) -> None:
        self._families.outbox_rows.set(rows)
        self._families.outbox_bytes.set(bytes_used)
        self._families.outbox_oldest_age.set(oldest_age_s)

    def rows_written(self, *, inserted: int, ignored: int) -> None:
        self._families.rows("inserted").inc(inserted)
        self._families.rows("ignored").inc(ignored)

    def dependency(self, name: str, *, up: bool) -> None:
        gauge = {"redis": self._families.redis_up, "db": self._families.db_up}.get(name)
        if gauge is not None:
            gauge.set(up)

    def reloaded(self, result: str) -> None:
        self._families.reloads(result).inc()

    def dependency_error(self, name: str) -> None:
        self._families.dependency_errors(name).inc()

    def sink(self, name: str, *, up: bool, lag_rows: int) -> None:
        _set(self._families.sink_up, (name,), up)
        _set(self._families.sink_lag, (name,), lag_rows)

    def sink_delivered(self, name: str, result: str, count: int) -> None:
        self._families.sink_deliveries(name, result).inc(count)

    def sink_lost(self, name: str, count: int) -> None:
        self._families.sink_lost(name).inc(count)

    def line_changed(self, line: int, action: str, count: int) -> None:
        self._families.enroll(line, action).inc(count)

    def storage(self, *, state: str) -> None:
        for (name,), gauge in self._families.storage_state.items():
            gauge.set(name == state)

    def picture_bytes(self, by_class: dict[str, int]) -> None:
        for name, size in by_class.items():
            _set(self._families.picture_bytes, (name,), size)

    def retention_deleted(self, what: str, files: int) -> None:
        self._families.retention_deleted(what).inc(files)

    def connection(self, event: str) -> None:
        self._families.connections(event).inc()

    def batch(self, report: BatchReport) -> None:
        families = self._families
        families.batch_size.observe(report.size)
        # decoding overlaps the batch before, heatmaps the one after: neither is the batch's own time
        scoring_s = report.seconds.get("encode", 0.0) + report.seconds.get("match", 0.0)
        families.batch_seconds(report.bucket).observe(scoring_s)
        families.batch_close(report.close_reason).inc()
        for stage, seconds in report.seconds.items():
            families.stage_seconds(stage).observe(seconds)
        for reason, count in report.retries.items():
            families.batch_retries(reason).inc(count)

    def worker_status(self, status: WorkerStatus) -> None:
        families, gpu = self._families, (str(status.worker),)
        _set(families.selftest, gpu, status.selftest == "passed")
        _set(families.worker_memory, gpu, status.rss_bytes)
        _set(families.bank_bytes, gpu, status.bank_bytes)
        self._show_device_memory(gpu, status.device_memory)
        for name, grown in self._cumulative.grown(status, "bank", status.bank_loads).items():
            families.bank_loads(*name.split("/", 1)).inc(grown)
        for name, grown in self._cumulative.grown(status, "heatmap", status.heatmaps).items():
            families.heatmaps(name).inc(grown)
        for name, grown in self._cumulative.grown(status, "frame", status.kept_frames).items():
            families.kept_frames(name).inc(grown)
        for line in self._lines:
            self._show_bank(line, status.lines.get(line, {}))
            self._show_threshold(line, status.lines.get(line, {}))
        if self._drift is not None:
            self._drift.follow(status.lines)
            self._show_drift(self._drift)

    def worker_up(self, gpu: str, *, up: bool) -> None:
        _set(self._families.worker_up, (gpu,), up)
        if not up:
            self._show_device_memory((gpu,), {})

    def worker_restarted(self, gpu: str, reason: str) -> None:
        self._families.worker_restarts(gpu, reason).inc()

    def ready(self, *, checks: dict[str, bool]) -> None:
        for name, passed in checks.items():
            _set(self._families.ready, (name,), passed)

    def _known_line(self, line: int) -> str:
        return str(line) if str(line) in self._counted else UNKNOWN

    def _show_bank(self, line: str, state: Mapping[str, object]) -> None:
        """One series a line at any time: the former bank's goes."""
        now = (str(state.get("product") or ""), str(state.get("bank") or "")[:12])
        if now != self._banks[line]:
            self._families.bank_info.remove(line, *self._banks[line])
            self._families.bank_info.labels(line, *now).set(bool(now[1]))
            self._banks[line] = now

    def _show_device_memory(self, gpu: tuple[str], memory: Mapping[str, int]) -> None:
        for key, gauge in self._families.device_memory.items():
            gauge.show(gpu, memory.get(key))

    def _show_drift(self, watch: DriftWatch) -> None:
        for line in self._lines:
            drift = watch.of(int(line))
            _set(self._families.drift_watched, (line,), drift is not None and drift.watched)
            _set(self._families.drift_alarm, (line,), drift is not None and drift.alarm is not None)
            _set(self._families.drift_evidence, (line,), watch.level(int(line)))

    def _show_threshold(self, line: str, state: Mapping[str, object]) -> None:
        threshold = state.get("threshold")
        value = float(threshold) if isinstance(threshold, int | float) else math.nan
        _set(self._families.score_threshold, (line,), value)
        for name in ThresholdState:
            _set(self._families.threshold_state, (line, name), state.get("threshold_state") == name)


class _Cumulative:
    """Turns a worker's totals into what they grew by; a new life of the worker starts from zero again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], tuple[int, dict[str, int]]] = {}

    def grown(self, status: WorkerStatus, what: str, totals: Mapping[str, int]) -> dict[str, int]:
        """Growth of each total since this worker's last status, 0 or more."""
        life, seen = self._seen.get((status.worker, what), (status.life, {}))
        if life != status.life:
            seen = {}
        self._seen[status.worker, what] = (status.life, dict(totals))
        return {name: max(0, total - seen.get(name, 0)) for name, total in totals.items()}


def _set(gauges: Mapping[tuple[str, ...], Gauge], values: tuple[str, ...], value: float) -> None:
    gauge = gauges.get(values)
    if gauge is not None:
        gauge.set(value)


def _free_bytes(folder: Path) -> float:
    try:
        room = os.statvfs(folder)
    except OSError:
        return math.nan
    return float(room.f_bavail * room.f_frsize)
