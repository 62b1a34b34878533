"""The faults that leave the worker alive, each for as long as a block lasts: for `make soak PARTS=bystander`.

    with LASTING["01 malformed messages"](daemon, postgres):
        ... as many frames as one likes ...

What is done once by a test is done here again and again, from a thread, with a pause after each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from uuid import uuid4

from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.faults import injections
from tests.end_to_end.harness import RunningDaemon

Fault = Callable[[RunningDaemon, Postgres], AbstractContextManager[None]]


def again_and_again(strike: Callable[[RunningDaemon], object], *, pause_s: float) -> Fault:
    """The same harm until the block ends. At its end raises what a strike raised."""
    return lambda daemon, _: _going_on(partial(strike, daemon), pause_s)


def _bad_and_good_settings(daemon: RunningDaemon) -> None:
    for spoilt, _ in injections.SPOILT.values():
        injections.reload_spoilt(daemon, spoilt)
    daemon.reload()


@contextmanager
def _ever_more_slow_handshakes(daemon: RunningDaemon, _: Postgres) -> Iterator[None]:
    with ExitStack() as slow, _going_on(lambda: slow.enter_context(injections.slow_handshakes(daemon)), 1.0):
        yield


@contextmanager
def _going_on(strike: Callable[[], object], pause_s: float) -> Iterator[None]:
    ending, begun = threading.Event(), threading.Event()

    def run() -> None:
        while not ending.is_set():
            begun.set()
            strike()
            ending.wait(pause_s)

    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(run)
        begun.wait()
        try:
            yield
        finally:
            ending.set()
        job.result()


LASTING: dict[str, Fault] = {
    "01 malformed messages": again_and_again(injections.malformed, pause_s=0.05),
    "02 corrupt JPEGs": again_and_again(injections.corrupt_jpegs, pause_s=0.05),
    "03 bombs": again_and_again(injections.bombs, pause_s=0.05),
    "04 oversize": again_and_again(injections.oversize, pause_s=1.0),
    "09 SQL killed": lambda daemon, postgres: postgres.killed(),
    "09 SQL never answers": lambda daemon, postgres: postgres.frozen(),
    "10 replays": again_and_again(lambda daemon: injections.replays(daemon, uuid4().hex), pause_s=0.05),
    "12 Redis stopped": lambda daemon, _: injections.redis_stopped(daemon),
    "13 overload of 300 frames/s": again_and_again(
        lambda daemon: injections.flood(daemon, uuid4().hex, pause_s=1 / 300), pause_s=0.0
    ),
    "13 overload without measure": again_and_again(
        lambda daemon: injections.flood(daemon, uuid4().hex), pause_s=0.0
    ),
    "15 reloads": again_and_again(_bad_and_good_settings, pause_s=0.1),
    "18 slow handshakes": _ever_more_slow_handshakes,
}
"""Fault -> what keeps it going on."""
