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
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np

from daemon.native_sender import CurveKeys
from tests.end_to_end.faults.oracle import SCORED, Witness
from tests.end_to_end.harness import RunningDaemon, picture
from tests.end_to_end.senders import Camera, Load

NAME = "other"
"""Alone on its line (plant.CAMERAS)."""
PACE_S = 0.02
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
    fork = multiprocessing.get_context("fork")  # everything is imported, and no thread runs yet
    heard, telling = fork.Pipe(duplex=False)
    ending = fork.Event()
    process = fork.Process(target=_send_steadily, args=(daemon, telling, ending))
    process.start()
    telling.close()
    answers: list[bytes] = []

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
        process.join()
    assert process.exitcode == 0
    check_unharmed(answers)
    witness.hears(answers)


def _send_steadily(daemon: RunningDaemon, telling: Connection, ending: Event) -> None:
    with Camera(daemon, NAME) as camera:
        for seed in count(100):
            if ending.wait(PACE_S):
                return
            image, started = picture(seed), time.monotonic()
            answer = camera.send_text(image)
            telling.send((time.monotonic() - started, answer))


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
