"""`aprilgan-admin enroll` on a running line: from the command's start to the first verdict by its bank.

The real daemon, a camera that goes on sending, and the command as a process of its own, so that its imports count.
"""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import textile
from benchmarks.result import Result
from benchmarks.service import Service, ServiceFailed
from daemon.native_sender import NativeSender, Shot

ROUNDS = 3
SHOTS = 8
RATE_HZ = 4.0
LINE = 4
TARGET_S = 10.0
PATIENCE_S = 30.0
"""From the end of a command to a verdict by its bank."""
VERDICT_DIGITS = 12
"""Of a bank's sha256 that a verdict names."""


def results() -> Iterator[Result]:
    """The median of a few enrolments of one line, each from other pictures."""
    pictures = [picture.path.read_bytes() for picture in textile.stream(54, 3, 3, seed=1)]
    with Service(Path("var/bench"), lines={LINE: {"product": "linen"}}, cameras={"camera": LINE}) as service:
        service.wait_for("worker")
        camera = Camera(service.ingest, pictures)
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(camera.run)
            try:
                rounds = [_enrol(service, camera, seed) for seed in range(ROUNDS)]
            finally:
                camera.ended.set()
            sending.result()
    yield Result(
        name="enrol_8_pictures_to_first_verdict_s",
        value=median(scored for scored, _, _ in rounds),
        target=TARGET_S,
        at_most=True,
        detail={
            "all_s": [round(scored, 2) for scored, _, _ in rounds],
            "published_s": [round(published, 2) for _, published, _ in rounds],
            "processor_s": [round(used, 2) for _, _, used in rounds],
            "frames_a_second": RATE_HZ,
        },
    )


class Camera:
    """Sends JPEG files in turn at RATE_HZ until `ended`, and notes when each bank's first verdict came."""

    def __init__(self, connect: str, pictures: Sequence[bytes]) -> None:
        self.ended = threading.Event()
        self._connect = connect
        self._pictures = pictures
        self._first_by: dict[str | None, float] = {}

    def first_verdict_by(self, sha256: str) -> float:
        """When, by the monotonic clock; waits for it. Raises ServiceFailed."""
        give_up = time.monotonic() + PATIENCE_S
        while (came := self._first_by.get(sha256[:VERDICT_DIGITS])) is None:
            if time.monotonic() > give_up:
                raise ServiceFailed(f"no verdict by bank {sha256[:VERDICT_DIGITS]} within {PATIENCE_S:g} s")
            time.sleep(0.05)
        return came

    def run(self) -> None:
        """Send and listen; a picture that finds the window full is passed by."""
        sender, start = NativeSender(self._connect, "camera"), time.monotonic()
        for number in count():
            while (wait_s := start + number / RATE_HZ - time.monotonic()) > 0:
                reply = sender.receive(wait_s)
                if reply is not None:
                    self._first_by.setdefault(reply.get("bank"), time.monotonic())
            if self.ended.is_set():
                break
            if sender.has_room:
                sender.send(Shot(payload=self._pictures[number % len(self._pictures)], enc="jpeg"))
        sender.close()


def _enrol(service: Service, camera: Camera, seed: int) -> tuple[float, float, float]:
    """Seconds from the command's start to its bank's first verdict and to its commit, and of processor time."""
    good = [str(picture.path) for picture in textile.references(SHOTS, seed=seed)]
    started, clock, used = time.monotonic(), time.time(), _children_s()
    done = json.loads(service.admin("enroll", "--line", str(LINE), "--json", *good))
    used = _children_s() - used
    published = datetime.fromisoformat(done["published_at"]).timestamp() - clock
    return camera.first_verdict_by(done["bank"]) - started, published, used


def _children_s() -> float:
    """Processor time of the commands that have ended; the daemon has not."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
