"""Cameras that trigger on time whatever the replies do, as parts on a belt pass by."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from daemon.native_sender import NativeSender, Shot


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """What became of the parts.

    answers: (seconds from trigger to reply, decision). passed_by: never sent, as the camera's window was full. A
    latency counts from when the camera should have triggered: a late sender hides nothing.
    """

    triggered: int
    answers: tuple[tuple[float, str], ...]
    passed_by: int

    @property
    def decided(self) -> list[float]:
        """Seconds to each verdict that is one."""
        return [seconds for seconds, decision in self.answers if decision != "uninspected"]

    @property
    def lost(self) -> int:
        """Parts without such a verdict."""
        return self.triggered - len(self.decided)

    def percentile_ms(self, share: float) -> float:
        """Of the verdicts' latencies; NaN without any."""
        return 1000 * float(np.percentile(self.decided, share)) if self.decided else float("nan")


def run_cameras(
    connect: str, names: Sequence[str], pictures: Sequence[bytes], *, rate_hz: float, seconds: float
) -> Paced:
    """Let cameras share `rate_hz` evenly, out of step, for so long. pictures: JPEG files, in turn."""
    period_s = len(names) / rate_hz
    start = time.monotonic() + 0.1
    with ThreadPoolExecutor(len(names)) as threads:
        parts = [
            threads.submit(_one_camera, connect, name, pictures, period_s, seconds, start + index / rate_hz)
            for index, name in enumerate(names)
        ]
        runs = [part.result() for part in parts]
    return Paced(
        triggered=sum(run.triggered for run in runs),
        answers=tuple(answer for run in runs for answer in run.answers),
        passed_by=sum(run.passed_by for run in runs),
    )


def _one_camera(
    connect: str, name: str, pictures: Sequence[bytes], period_s: float, seconds: float, start: float
) -> Paced:
    sender, count, passed_by = NativeSender(connect, name), int(seconds / period_s), 0
    due_at: dict[int, float] = {}
    answers: list[tuple[float, str]] = []

    def note(wait_s: float) -> bool:
        reply = sender.receive(wait_s)
        if reply is None:
            return False
        answers.append((time.monotonic() - due_at[reply["seq"]], reply.get("decision", json.dumps(reply))))
        return True

    for number in range(count):
        due = start + number * period_s
        while (wait_s := due - time.monotonic()) > 0:
            note(wait_s)
        if not sender.has_room:
            passed_by += 1
            continue
        due_at[sender.send(Shot(payload=pictures[number % len(pictures)], enc="jpeg"))] = due
    while sender.unanswered and note(10.0):
        pass
    sender.close()
    return Paced(triggered=count, answers=tuple(answers), passed_by=passed_by)
