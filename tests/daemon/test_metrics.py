"""Metrics: every child exists from the start, labels come from the configuration, and the sums conserve frames."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from daemon.flow import (
    Decision,
    Encoding,
    Identity,
    Protocol,
    RawFrame,
    Refusal,
    RefusalReason,
    UninspectedReason,
    Verdict,
)
from daemon.link import BatchReport, WorkerStatus
from daemon.metrics import PrometheusObserver
from daemon.readiness import CHECKS
from daemon.setting_sections import CameraSettings, LineSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_observer() -> PrometheusObserver:
    return PrometheusObserver(
        lines=[LineSettings(id=4), LineSettings(id=5)],
        cameras=[CameraSettings(name="top", line=4), CameraSettings(name="side", line=5)],
        checks=CHECKS,
        sinks=("plant",),
    )


def a_frame(camera: str = "top", line: int = 4) -> RawFrame:
    return RawFrame(
        route=b"r",
        protocol=Protocol.NATIVE,
        identity=Identity(camera=camera, line=line),
        encoding=Encoding.JPEG,
        payload=memoryview(b""),
        dtype="uint8",
        shape=(16, 16, 3),
        color="bgr",
    )


def a_verdict(
    decision: Decision = Decision.ACCEPT,
    *,
    line: int = 4,
    reason: str | None = None,
    score: float | None = None,
) -> Verdict:
    return Verdict(
        key="k",
        line=line,
        camera="top",
        part=None,
        seq=None,
        decision=decision,
        reason=reason,
        score=score,
        threshold=None,
        threshold_state=None,
        p_value=None,
        product=None,
        bank_sha256=None,
        model_id=None,
        adapter_sha256=None,
        software_version="0",
        batch_size=None,
        queue_ms=None,
        infer_ms=None,
        total_ms=20.0,
        host="h",
        heatmap=None,
        no_heatmap=None,
        frame_sha256="0" * 64,
        captured_at=None,
        received_at=NOW,
        decided_at=NOW,
    )


def a_status(life: int = 1, **fields: object) -> WorkerStatus:
    fixed = {"worker": 0, "life": life, "pid": 1, "phase": "ready", "progress": 1, "busy_ms": 0.0, "queued": 0}
    return WorkerStatus(**fixed, **fields)  # type: ignore[arg-type]


def total(observer: PrometheusObserver, name: str, **labels: str) -> float:
    """The sum over all children of a sample whose labels include `labels`."""
    return sum(
        sample.value
        for family in observer.registry.collect()
        for sample in family.samples
        if sample.name == f"aprilgan_{name}" and labels.items() <= sample.labels.items()
    )


def series(observer: PrometheusObserver) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in observer.registry.collect()
        for sample in family.samples
    }


def test_every_counter_child_is_there_at_zero_before_anything_happens() -> None:
    observer = an_observer()
    assert total(observer, "verdicts_total") == 0
    present = series(observer)
    for line in ("4", "5"):
        for decision in Decision:
            labels = (("line", line), ("verdict", decision.value))
            assert ("aprilgan_verdicts_total", labels) in present
        for reason in UninspectedReason:
            labels = (("line", line), ("reason", reason.value))
            assert ("aprilgan_uninspected_total", labels) in present
    for camera in ("top", "side", "unknown"):
        for reason in RefusalReason:
            labels = (("camera", camera), ("reason", reason.value))
            assert ("aprilgan_frames_refused_total", labels) in present
    for result in ("delivered", "failed", "refused"):
        labels = (("result", result), ("sink", "plant"))
        assert ("aprilgan_sink_deliveries_total", labels) in present
    counters = [
        sample
        for family in observer.registry.collect()
        if family.type == "counter" and not family.name.startswith("aprilgan_process")
        for sample in family.samples
    ]
    assert {sample.value for sample in counters} == {0.0}


def test_no_hook_makes_a_series_that_was_not_there_at_start() -> None:
    observer = an_observer()
    before = series(observer)
    observer.frame_received(a_frame())
    observer.frame_received(a_frame(camera="intruder", line=99))
    observer.message_unreadable()
    observer.frame_refused(Refusal(RefusalReason.BUSY, "full", camera="intruder"), line=None)
    observer.duplicate(a_frame(camera="intruder"))
    observer.frame_gap("intruder", 99, 3)
    observer.verdict(a_verdict(line=99, score=1.0), slack_s=0.1)
    observer.verdict(a_verdict(Decision.UNINSPECTED, reason="never heard of"), slack_s=-0.1)
    observer.in_flight({4: 1, 99: 2})
    observer.dependency("mqtt", up=True)
    observer.dependency_error("mqtt")
    observer.connection("something_new")
    observer.batch(
        BatchReport(worker=7, size=3, bucket=3, close_reason="new", seconds={"x": 1.0}, retries={"y": 1})
    )
    observer.worker_status(a_status(bank_loads={"tape/ok": 1, "odd": 1}, heatmaps={"odd": 1}))
    observer.worker_up("7", up=True)
    observer.worker_restarted("7", "odd")
    observer.ready(checks={"odd": True})
    observer.sink("odd", up=True, lag_rows=3)
    observer.sink_delivered("odd", "delivered", 1)
    observer.sink_lost("odd", 1)
    assert series(observer) == before


def test_all_names_carry_the_prefix_and_base_units() -> None:
    for family in an_observer().registry.collect():
        assert family.name.startswith("aprilgan_")
        assert not any(unit in family.name for unit in ("_ms", "_millis", "_kb", "_mb", "_percent"))


@pytest.mark.parametrize("accept", ["text", "openmetrics"])
def test_a_strict_parser_takes_the_exposition(accept: str) -> None:
    observer = an_observer()
    observer.verdict(a_verdict(score=1.0), slack_s=0.1)
    if accept == "text":
        families = list(text_string_to_metric_families(generate_latest(observer.registry).decode()))
    else:
        text = openmetrics.generate_latest(observer.registry).decode()
        families = list(openmetrics_parser.text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) > 40


EVENTS = st.lists(
    st.sampled_from(
        ["accept", "review", "reject", "deadline", "refused", "unreadable", "duplicate", "recovered", "held"]
    ),
    max_size=60,
)


@given(EVENTS)
def test_received_and_recovered_equal_what_became_of_them(events: list[str]) -> None:
    observer = an_observer()
    for event in events:
        _happen(observer, event)
    observer.in_flight({4: events.count("held"), 5: 0})
    came = total(observer, "frames_received_total") + total(observer, "recovered_total")
    went = (
        total(observer, "verdicts_total")
        + total(observer, "frames_refused_total")
        + total(observer, "frames_duplicate_total")
        + total(observer, "in_flight")
    )
    assert came == went == len(events)


def _happen(observer: PrometheusObserver, event: str) -> None:
    if event == "unreadable":
        observer.message_unreadable()
        observer.frame_refused(Refusal(RefusalReason.UNKNOWN_CAMERA, "who?"), line=None)
    elif event == "recovered":
        observer.recovered(1)
        verdict = a_verdict(Decision.UNINSPECTED, line=99, reason=UninspectedReason.RESTART)
        observer.verdict(verdict, slack_s=0.0)
    else:
        observer.frame_received(a_frame())
    if event == "refused":
        observer.frame_refused(Refusal(RefusalReason.BUSY, "full", camera="top"), line=4)
    elif event == "duplicate":
        observer.duplicate(a_frame())
    elif event == "deadline":
        observer.verdict(a_verdict(Decision.UNINSPECTED, reason=event), slack_s=0.0)
    elif event in tuple(Decision):
        observer.verdict(a_verdict(Decision(event), score=1.0), slack_s=0.1)


def test_a_recovered_part_of_a_line_no_longer_configured_keeps_its_verdict_and_reason() -> None:
    observer = an_observer()
    observer.verdict(a_verdict(Decision.UNINSPECTED, line=99, reason="restart"), slack_s=0.0)
    assert total(observer, "verdicts_total", line="unknown", verdict="uninspected") == 1
    assert total(observer, "uninspected_total", line="unknown", reason="restart") == 1


def test_a_workers_totals_count_once_whatever_the_number_of_heartbeats_and_lives() -> None:
    observer = an_observer()
    for life, loads in ((1, 2), (1, 2), (1, 3), (2, 1), (2, 1)):
        observer.worker_status(a_status(life, bank_loads={"file/ok": loads}))
    assert total(observer, "bank_loads_total", source="file", result="ok") == 4


def test_device_memory_is_shown_while_a_worker_on_a_gpu_reports_it_and_by_no_other() -> None:
    observer, name = an_observer(), "aprilgan_gpu_memory_free_bytes"
    observer.worker_status(a_status())
    assert observer.registry.get_sample_value(name, {"gpu": "0"}) is None
    observer.worker_status(a_status(device_memory={"allocated": 1, "reserved": 2, "free": 3, "total": 5}))
    assert observer.registry.get_sample_value(name, {"gpu": "0"}) == 3
    assert observer.registry.get_sample_value("aprilgan_cuda_memory_allocated_bytes", {"gpu": "0"}) == 1
    observer.worker_up("0", up=False)
    assert observer.registry.get_sample_value(name, {"gpu": "0"}) is None


def test_a_line_shows_one_bank_at_a_time_and_nan_as_threshold_while_it_has_none() -> None:
    observer = an_observer()
    assert math.isnan(total(observer, "score_threshold", line="4"))
    state = {"product": "felt", "bank": "ab" * 32, "threshold": 2.5, "threshold_state": "provisional"}
    observer.worker_status(a_status(lines={"4": state}))
    observer.worker_status(a_status(lines={"4": {**state, "bank": "cd" * 32}}))
    banks = [dict(labels) for name, labels in series(observer) if name == "aprilgan_bank_info"]
    assert sorted(label["bank"] for label in banks) == ["", "cdcdcdcdcdcd"]
    assert total(observer, "score_threshold", line="4") == 2.5
    assert total(observer, "threshold_state", line="4", state="provisional") == 1
    assert total(observer, "threshold_state", line="4") == 1


def test_a_late_verdict_counts_as_a_miss_with_negative_slack() -> None:
    observer = an_observer()
    observer.verdict(a_verdict(score=1.0), slack_s=-0.02)
    observer.verdict(a_verdict(score=1.0), slack_s=0.4)
    assert total(observer, "deadline_misses_total", line="4") == 1
    assert total(observer, "deadline_slack_seconds_bucket", le="0.0") == 1


def samples(observer: PrometheusObserver) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in observer.registry.collect()
        for sample in family.samples
        if not sample.name.startswith("aprilgan_process")
    }


@pytest.mark.parametrize("before", [[], [4], [4, 5, 6]])
def test_lines_that_are_configured_later_have_every_series_that_they_would_have_had_at_start(
    before: list[int],
) -> None:
    late = PrometheusObserver(
        lines=[LineSettings(id=line) for line in before],
        cameras=[CameraSettings(name="old", line=line) for line in before[:1]],
        checks=CHECKS,
        sinks=("plant",),
    )
    fresh = an_observer()
    lines, cameras = [4, 5], {"top": 4, "side": 5}
    late.configure(
        lines=[LineSettings(id=line) for line in lines],
        cameras=[CameraSettings(name=name, line=line) for name, line in cameras.items()],
    )
    assert samples(fresh).keys() <= samples(late).keys()
    shown = {name for name, labels in samples(late).keys() - samples(fresh).keys()}
    assert all(name.endswith(("_total", "_bucket", "_sum", "_count")) for name in shown), (
        "no gauge of a former line"
    )


def test_what_a_line_counted_stays_when_it_is_gone_and_its_last_verdicts_still_count() -> None:
    observer = an_observer()
    observer.verdict(a_verdict(line=5), slack_s=0.1)
    observer.configure(lines=[LineSettings(id=4)], cameras=[CameraSettings(name="top", line=4)])
    observer.verdict(a_verdict(line=5), slack_s=0.1)
    found = samples(observer)
    assert found["aprilgan_verdicts_total", (("line", "5"), ("verdict", "accept"))] == 2
    assert ("aprilgan_queue_depth", (("line", "5"),)) not in found
