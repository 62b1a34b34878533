"""A camera that the fault does not touch: does it notice? service.md section 7, "others' p99 within 2x".

    with watched(daemon) as witness, bystander(daemon, witness):
        ... inject the fault ...

No clock is asked there: each of its frames is scored within its line's deadline, or the test fails. How long that
took beside a fault that goes on is measured by `make soak PARTS=bystander`, with `bystander_apart` and `compare`.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np

from daemon.native_sender import CurveKeys
from tests.end_to_end.faults.oracle import SCORED, Witness
from tests.end_to_end.faults.plant import CAMERAS
from tests.end_to_end.harness import RunningDaemon, picture
from tests.end_to_end.senders import Camera, Load

NAME = "other"
"""Alone on its line (plant.CAMERAS)."""
PACE_S = 0.02
OPERATION_PACE_S = 0.06
"""Three cameras then ask for some 70 % of what two cores score with `lite`."""
FRAMES = 4
"""At least so many before the fault, and after it."""


@contextmanager
def bystander(
    daemon: RunningDaemon, witness: Witness, name: str = NAME, *, keys: CurveKeys | None = None
) -> Iterator[Load]:
    """It sends at a steady pace all the while; at the end each of its frames was scored in time."""
    with Load(daemon, [name], pace_s=PACE_S, keys={name: keys} if keys else None) as load:
        load.reaches(FRAMES)
        yield load
        load.reaches(len(load.answers) + FRAMES)
        answers = load.finish()
    check_unharmed(answers)
    witness.hears(answers)


@contextmanager
def bystander_apart(daemon: RunningDaemon, witness: Witness) -> Iterator[Callable[[int], list[float]]]:
    """The same in a process of its own, so that nothing which injects the fault delays it but by the daemon.

    Yields what waits for its next so many frames and gives the seconds each took.
    """
    answers: list[bytes] = []
    with _apart(_tell_each, daemon, NAME, PACE_S) as (heard, ending):

        def take() -> float:
            took_s, answer = heard.recv()
            answers.append(answer)
            return float(took_s)

        def next_times(count: int) -> list[float]:
            while heard.poll():
                take()
            take()  # it was under way
            return [take() for _ in range(count)]

        try:
            yield next_times
        finally:
            ending.set()
            with suppress(EOFError):
                while True:
                    take()
    check_unharmed(answers)
    witness.hears(answers)


@contextmanager
def in_operation(daemon: RunningDaemon, witness: Witness) -> Iterator[None]:
    """The other cameras of the plant send all the while, each from a process of its own, as on a working day."""
    with ExitStack() as cameras:
        told = [
            cameras.enter_context(_apart(_tell_at_the_end, daemon, name, OPERATION_PACE_S))
            for name in CAMERAS
            if name != NAME
        ]
        try:
            yield
        finally:
            for _, ending in told:
                ending.set()
            answers = [heard.recv() for heard, _ in told]
    for each in answers:
        witness.hears(each)


@contextmanager
def _apart(
    tell: Callable[..., None], daemon: RunningDaemon, name: str, pace_s: float
) -> Iterator[tuple[Connection, Event]]:
    """A camera in a process of its own: what it tells, and what ends it (set before its last words are read)."""
    fork = multiprocessing.get_context("fork")  # everything is imported, and no thread runs yet
    heard, telling = fork.Pipe(duplex=False)
    ending = fork.Event()
    process = fork.Process(target=tell, args=(telling, daemon, name, pace_s, ending))
    process.start()
    telling.close()
    try:
        yield heard, ending
    finally:
        ending.set()
        heard.close()  # where a test failed before it had heard everything
        process.join()
    assert process.exitcode == 0


def _tell_each(telling: Connection, *of: Any) -> None:
    for took_s, answer in _steadily(*of):
        telling.send((took_s, answer))


def _tell_at_the_end(telling: Connection, *of: Any) -> None:
    telling.send([answer for _, answer in _steadily(*of)])


def _steadily(daemon: RunningDaemon, name: str, pace_s: float, ending: Event) -> Iterator[tuple[float, bytes]]:
    """Send until it ends: the seconds that each answer took, and the answer."""
    with Camera(daemon, name) as camera:
        for seed in count(100):
            if ending.wait(pace_s):
                return
            image, started = picture(seed), time.monotonic()
            answer = camera.send_text(image)
            yield time.monotonic() - started, answer


def check_unharmed(answers: Iterable[bytes]) -> None:
    """Each answer is a verdict with a score: no `ERR`, no `BUSY`, none uninspected, which a late one would be."""
    for answer in answers:
        assert answer.startswith(b"{"), answer
        verdict = json.loads(answer)
        assert verdict["decision"] in SCORED, verdict
        assert verdict["reason"] is None, verdict


def compare(before_s: Sequence[float], during_s: Sequence[float]) -> dict[str, Any]:
    """Times from send to reply before a fault and beside it, in ms, and how many times longer the p99 is."""
    before, during = _quantiles_ms(before_s), _quantiles_ms(during_s)
    return {
        "frames": [len(before_s), len(during_s)],
        "before_ms": before,
        "during_ms": during,
        "p99_ratio": round(during["p99"] / before["p99"], 2),
    }


def _quantiles_ms(times_s: Sequence[float]) -> dict[str, float]:
    return {name: round(float(np.quantile(times_s, q)) * 1e3, 1) for name, q in (("p50", 0.5), ("p99", 0.99))}
