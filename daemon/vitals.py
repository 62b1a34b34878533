"""How the running service is: gathered from its parts for the pages, readiness, and the watchdog.

Read from several threads; only looks, and never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from daemon import __version__
from daemon.authorized_keys import KeyRing, Role
from daemon.dependencies import DependencyWatch
from daemon.drift_watch import DriftWatch
from daemon.ingress import Ingress
from daemon.outbox import Outbox
from daemon.outputs.outputs import Outputs
from daemon.readiness import Check, Facts, readiness
from daemon.recorder import Recorder
from daemon.settings import Settings
from daemon.stopping import StopFlag
from daemon.storage import DiskState
from daemon.storekeeper import Storekeeper
from daemon.worker_port import ZmqWorkerPort

LIVE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What there is to look at. settings: at the start. keys: None without CURVE. drift: None watches nothing.

    config: what there is to say of the settings in force.
    """

    settings: Settings
    stop: StopFlag
    ingress: Ingress
    workers: ZmqWorkerPort
    outbox: Outbox
    recorder: Recorder
    dependencies: DependencyWatch
    started_at: datetime
    keys: KeyRing | None = None
    outputs: Outputs = field(default_factory=Outputs)
    storekeeper: Storekeeper | None = None
    drift: DriftWatch | None = None
    config: Callable[[], Mapping[str, Any]] = dict


class Vitals:
    """The views on the parts. monotonic: seconds. `settings` are those in force; they may be replaced."""

    def __init__(self, parts: Parts, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self.settings = parts.settings
        self._monotonic = monotonic
        self._turn = (-1, monotonic())

    def live(self) -> dict[str, Check]:
        """/livez: whether the loop turns and the threads live."""
        parts = self._parts
        turns = parts.ingress.turns
        if turns != self._turn[0]:
            self._turn = (turns, self._monotonic())
        still_s = self._monotonic() - self._turn[1]
        return {
            "loop": Check(ok=still_s < LIVE_WITHIN_S, detail=f"turned {still_s:.1f} s ago"),
            "recorder": _living("recorder", parts.recorder.alive),
            "dependencies": _living("dependencies", parts.dependencies.is_alive()),
            **(
                {}
                if parts.storekeeper is None
                else {"storekeeper": _living("storekeeper", parts.storekeeper.is_alive())}
            ),
            **{name: _living(name, lives()) for name, lives in parts.outputs.threads.items()},
        }

    def ready(self) -> dict[str, Check]:
        """/readyz."""
        parts, status = self._parts, self._parts.workers.status
        return readiness(
            Facts(
                serving=parts.ingress.turns > 0 and not parts.stop.is_set(),
                keys=parts.keys.fault if parts.keys else None,
                schema=parts.dependencies.seen.schema,
                worker=None if parts.workers.ready else (status.phase if status else "starting"),
                selftest=status.selftest if status else "skipped",
                missing_banks=self._missing_banks(),
                outbox_rows=parts.outbox.unrecorded,
                outbox_max_rows=self.settings.outbox.max_rows,
            )
        )

    def marks(self) -> Mapping[str, Hashable]:
        """What must move for the watchdog to be petted.

        A worker that is not ready is its supervisor's: it has its own bounded time to load, so the loop,
        which supervises, vouches for it.
        """
        parts, status = self._parts, self._parts.workers.status
        turns = parts.ingress.turns
        worker: Hashable = turns
        if status is not None and parts.workers.ready:
            worker = (status.life, status.progress)
        return {"ingress": turns, "recorder": parts.recorder.turns, "worker": worker}

    def summary(self) -> str:
        """One line for a person."""
        parts = self._parts
        text = (
            f"inspecting {len(self.settings.lines)} lines, {parts.ingress.frames_in_flight} frames in flight, "
            f"{parts.outbox.unrecorded} verdicts wait for SQL"
        )
        down = self._down()
        text += "".join(f"; {state}" for state in self._disk())
        alarmed = parts.drift.alarmed if parts.drift else []
        text += f"; drift alarm on line {', '.join(map(str, alarmed))}" if alarmed else ""
        return f"{text}; degraded: {' and '.join(down)} down" if down else text

    def status(self) -> dict[str, Any]:
        """/statusz: everything a person would ask first, without secrets."""
        parts, worker = self._parts, self._parts.workers.status
        return {
            "version": __version__,
            "started_at": parts.started_at.isoformat(),
            "ready": all(check.ok for check in self.ready().values()),
            "degraded": [*self._down(), *self._disk()],
            "config": dict(parts.config()),
            "security": self._security(),
            "in_flight": parts.ingress.frames_in_flight,
            "outbox_rows": parts.outbox.unrecorded,
            "outputs": parts.outputs.status(),
            "storage": None if parts.storekeeper is None else parts.storekeeper.status(),
            "lines": {str(line.id): self._line(line.id) for line in self.settings.lines},
            "worker": None if worker is None else _without(asdict(worker), "lines"),
        }

    def _down(self) -> list[str]:
        seen = self._parts.dependencies.seen
        down = [name for name, up in (("SQL", seen.db_up), ("Redis", seen.redis_up)) if not up]
        return [*down, *self._parts.outputs.down]

    def _disk(self) -> list[str]:
        keeper = self._parts.storekeeper
        return [f"disk {keeper.state}"] if keeper is not None and keeper.state is not DiskState.OK else []

    def _security(self) -> dict[str, Any]:
        keys = self._parts.keys
        if keys is None:
            return {"mode": "none"}
        counts = {f"{role}_keys": keys.count(role) for role in Role}
        return {"mode": "curve", **counts, "fault": keys.fault}

    def _line(self, line_id: int) -> dict[str, Any]:
        line, settings = self.settings.line(line_id), self.settings
        return {
            "name": line.name if line else "",
            "cameras": [camera.name for camera in settings.cameras if camera.line == line_id],
            **self._line_state(line_id),
            "drift": None if self._parts.drift is None else self._parts.drift.public(line_id),
        }

    def _line_state(self, line_id: int) -> dict[str, Any]:
        status = self._parts.workers.status
        return status.lines.get(str(line_id), {}) if status else {}

    def _missing_banks(self) -> dict[int, str]:
        return {
            line.id: str(state.get("error") or "not enrolled")
            for line in self.settings.lines
            if not (state := self._line_state(line.id)).get("bank")
        }


def _living(name: str, alive: bool) -> Check:
    return Check(ok=alive, detail=f"thread {name} {'lives' if alive else 'died'}")


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}
