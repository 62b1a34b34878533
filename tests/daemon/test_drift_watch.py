"""The drift watch of the running service: what begins it, what raises its alarm once, what a restart keeps."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.drift import HIGHER
from daemon.drift_watch import FILE, SAVE_EVERY_NS, DriftOptions, DriftWatch, read_drifts
from daemon.flow import Verdict
from daemon.link import WorkerStatus
from daemon.metrics import PrometheusObserver
from daemon.setting_sections import LineSettings
from tests.daemon.test_records import NOW, SHA, a_verdict

OPTIONS = DriftOptions(parts_per_false_alarm=10_000, defect_rate=0.05)


class TurnedClock:
    """Time that a test turns."""

    def __init__(self) -> None:
        self.ns = 0

    def monotonic_ns(self) -> int:
        return self.ns

    def now(self) -> datetime:
        return NOW + timedelta(microseconds=self.ns / 1000)


def a_watch(folder: Path, clock: TurnedClock | None = None) -> DriftWatch:
    return DriftWatch(lines=[4, 5], options=OPTIONS, state_dir=folder, clock=clock or TurnedClock())


def a_line(*, revision: int = 1, samples: int = 99, bank: str | None = SHA) -> dict[str, dict[str, Any]]:
    return {"4": {"bank": bank, "revision": revision, "calibration_samples": samples}}


def a_part(number: int, p_value: float | None = 0.01) -> Verdict:
    return replace(a_verdict(f"k{number}"), p_value=p_value)


def drifted(watch: DriftWatch) -> DriftWatch:
    """After parts whose scores all lie high."""
    watch.follow(a_line())
    raised = [watch.take(a_part(number)) for number in range(100)]
    assert raised.count(True) == 1
    return watch


def test_a_line_is_watched_only_where_its_bank_is_calibrated(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)
    assert not watch.public(4)["watched"]
    assert "no bank" in watch.public(4)["why_not"]
    watch.follow(a_line(samples=0))
    assert "calibrate" in watch.public(4)["why_not"]
    assert not any(watch.take(a_part(number)) for number in range(100))
    watch.follow(a_line(samples=99, revision=2))
    assert watch.public(4)["watched"]
    assert watch.public(4)["why_not"] is None


def test_an_alarm_is_raised_and_logged_once_and_stands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        watch = drifted(a_watch(tmp_path))
    assert [record.message for record in caplog.records if "drifts" in record.message] == [caplog.messages[0]]
    alarm = watch.public(4)["alarm"]
    assert (alarm["direction"], alarm["revision"]) == (HIGHER, 1)
    assert watch.alarmed == [4]
    for number in range(500):
        assert not watch.take(a_part(number, p_value=0.5))
    assert watch.public(4)["alarm"] == alarm
    assert watch.level(4) < 1


def test_a_part_without_a_p_value_or_of_another_bank_or_line_says_nothing(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)
    watch.follow(a_line())
    for verdict in (a_part(1, None), replace(a_part(2), bank_sha256="b" * 64), replace(a_part(3), line=5)):
        watch.take(verdict)
    assert watch.public(4)["parts"] == 0


def test_a_new_revision_begins_anew_and_the_alarm_joins_the_history(tmp_path: Path) -> None:
    watch = drifted(a_watch(tmp_path))
    watch.follow(a_line(revision=1))
    assert watch.alarmed == [4]
    watch.follow(a_line(revision=2))
    seen = watch.public(4)
    assert (seen["alarm"], seen["parts"], seen["evidence"]) == (None, 0, 0.0)
    assert [alarm["revision"] for alarm in seen["history"]] == [1]
    assert seen["history"][0]["ended_at"] is not None


def test_a_restart_keeps_evidence_and_alarm_while_its_worker_has_no_bank_yet(tmp_path: Path) -> None:
    first = drifted(a_watch(tmp_path))
    first.save()
    second = a_watch(tmp_path)
    assert second.public(4) == first.public(4)
    second.follow(a_line(bank=None))
    second.follow({})
    second.follow(a_line())
    assert second.public(4) == first.public(4)


def test_evidence_is_kept_once_a_minute(tmp_path: Path) -> None:
    clock = TurnedClock()
    watch = a_watch(tmp_path, clock)
    watch.follow(a_line())
    watch.take(a_part(1))
    watch.follow(a_line())
    assert read_drifts(tmp_path / FILE)[4].evidence.parts == 0
    clock.ns += SAVE_EVERY_NS
    watch.follow(a_line())
    assert read_drifts(tmp_path / FILE)[4].evidence.parts == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"4": {}}', '{"4": {"evidence": {"higher": [1]}}}', "\xff"])
def test_a_damaged_file_is_told_of_and_the_watch_begins_anew(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        watch = a_watch(tmp_path)
    assert "begins anew" in caplog.text
    assert watch.of(4) is None


def test_a_disk_that_refuses_is_told_of_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = a_watch(tmp_path / "missing")
    with caplog.at_level(logging.WARNING):
        watch.follow(a_line())
        watch.save()
    assert caplog.text.count("cannot be written") == 1
    assert watch.public(4)["watched"]


def test_a_line_that_left_the_settings_is_forgotten(tmp_path: Path) -> None:
    drifted(a_watch(tmp_path)).save()
    kept = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({"9": kept["4"]}))
    assert a_watch(tmp_path).alarmed == []


def test_metrics_show_the_watch_and_count_each_alarm_once(tmp_path: Path) -> None:
    watch = a_watch(tmp_path)
    observer = PrometheusObserver(lines=[LineSettings(id=4), LineSettings(id=5)], cameras=[], drift=watch)

    def shown(name: str) -> float | None:
        return observer.registry.get_sample_value(f"aprilgan_drift_{name}", {"line": "4"})

    assert [shown(name) for name in ("watched", "alarm", "evidence", "alarms_total")] == [0, 0, 0, 0]
    status = WorkerStatus(
        worker=0, life=1, pid=1, phase="ready", progress=1, busy_ms=0.0, queued=0, lines=a_line()
    )
    observer.worker_status(status)
    assert shown("watched") == 1
    for number in range(100):
        observer.verdict(a_part(number), slack_s=0.1)
    assert (shown("alarm"), shown("alarms_total")) == (1, 1)
    observer.worker_status(status)
    assert shown("evidence") == pytest.approx(1, abs=0.3)


def test_times_are_utc(tmp_path: Path) -> None:
    watch = drifted(a_watch(tmp_path))
    assert datetime.fromisoformat(watch.public(4)["alarm"]["at"]).tzinfo == UTC
