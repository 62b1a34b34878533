"""Liveness and the watchdog's marks, over stand-ins for the parts that they look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daemon.authorized_keys import KeyRing
from daemon.dependencies import Dependencies
from daemon.link import WorkerStatus
from daemon.readiness import CHECKS
from daemon.setting_sections import CameraSettings, LineSettings
from daemon.settings import Settings
from daemon.stopping import StopFlag
from daemon.vitals import Parts, Vitals

BANK = {"product": "felt", "bank": "ab" * 32, "threshold": 2.5, "threshold_state": "provisional", "error": None}


class Stage:
    """Vitals over parts that a test can change."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ingress = SimpleNamespace(turns=1, frames_in_flight=2)
        self.workers = SimpleNamespace(ready=True, status=a_status(progress=5))
        self.outbox = SimpleNamespace(unrecorded=3)
        self.recorder = SimpleNamespace(alive=True, turns=7)
        self.dependencies = SimpleNamespace(
            seen=Dependencies(db_up=True, redis_up=True, schema=None), is_alive=lambda: True
        )
        self.stop = StopFlag()
        parts: dict[str, Any] = {name: value for name, value in vars(self).items() if name != "now_s"}
        settings = Settings(lines=(LineSettings(id=4),), cameras=(CameraSettings(name="top", line=4),))
        started_at = datetime(2026, 1, 1, tzinfo=UTC)
        self.parts = Parts(settings=settings, started_at=started_at, **parts)
        self.vitals = Vitals(self.parts, monotonic=lambda: self.now_s)


def a_status(progress: int, *, bank: dict[str, Any] | None = BANK) -> WorkerStatus:
    return WorkerStatus(
        worker=0,
        life=1,
        pid=1,
        phase="ready",
        progress=progress,
        busy_ms=0.0,
        queued=0,
        lines={"4": bank or {"bank": None, "error": "never enrolled"}},
    )


def test_a_loop_that_stands_still_is_not_live_and_one_that_turns_again_is() -> None:
    stage = Stage()
    assert all(check.ok for check in stage.vitals.live().values())
    stage.now_s = 6.0
    assert not stage.vitals.live()["loop"].ok
    stage.ingress.turns = 2
    assert stage.vitals.live()["loop"].ok


def test_a_dead_recorder_is_not_live() -> None:
    stage = Stage()
    stage.recorder.alive = False
    assert not stage.vitals.live()["recorder"].ok


def test_everything_in_order_is_ready_and_a_stop_is_not() -> None:
    stage = Stage()
    assert [name for name, check in stage.vitals.ready().items() if check.ok] == list(CHECKS)
    stage.stop.request()
    assert [name for name, check in stage.vitals.ready().items() if not check.ok] == ["serving"]


def test_a_line_without_a_bank_is_named_with_its_reason() -> None:
    stage = Stage()
    stage.workers.status = a_status(5, bank=None)
    assert stage.vitals.ready()["banks"].detail == "line 4: never enrolled"


def test_the_loop_vouches_for_a_worker_that_loads_and_a_ready_one_must_move_itself() -> None:
    stage = Stage()
    before = stage.vitals.marks()
    stage.ingress.turns += 1
    assert stage.vitals.marks()["worker"] == before["worker"]
    stage.workers.ready = False
    loading = stage.vitals.marks()
    stage.ingress.turns += 1
    assert stage.vitals.marks()["worker"] != loading["worker"]


def test_the_status_page_names_line_bank_and_threshold_as_the_admin_command_waits_for() -> None:
    line = Stage().vitals.status()["lines"]["4"]
    assert (line["bank"], line["threshold"], line["cameras"]) == ("ab" * 32, 2.5, ["top"])


def test_the_summary_says_what_is_degraded() -> None:
    stage = Stage()
    assert stage.vitals.summary() == "inspecting 1 lines, 2 frames in flight, 3 verdicts wait for SQL"
    stage.dependencies.seen = Dependencies(db_up=False, redis_up=True, schema=None)
    assert stage.vitals.summary().endswith("degraded: SQL down")


def test_a_damaged_list_of_keys_is_not_ready_and_the_status_says_why(tmp_path: Path) -> None:
    stage = Stage()
    assert stage.vitals.status()["security"] == {"mode": "none"}
    file = tmp_path / "authorized.json"
    stage.vitals = Vitals(replace(stage.parts, keys=KeyRing(file)))
    assert stage.vitals.status()["security"] == {
        "mode": "curve",
        "camera_keys": 0,
        "subscriber_keys": 0,
        "fault": None,
    }
    assert stage.vitals.ready()["keys"].ok
    file.write_text("[]")
    assert not stage.vitals.ready()["keys"].ok
    assert "is damaged" in stage.vitals.status()["security"]["fault"]
