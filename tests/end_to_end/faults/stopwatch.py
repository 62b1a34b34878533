"""How long it takes what was promised to take no longer, in seconds: one measurement a call, on a ready daemon."""

from __future__ import annotations

import os
import signal
import time

import psutil

from daemon.exit_codes import ExitCode
from tests.end_to_end.faults.injections import MALFORMED, ask
from tests.end_to_end.faults.oracle import Witness
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load, a_dealer

IMPORTED_S = 0.5
"""Processor seconds that a standby's imports take at least."""


def refusals_s(daemon: RunningDaemon) -> list[float]:
    """Each malformed message, from send to `ERR`."""
    with a_dealer(daemon) as sender:
        ask(sender, MALFORMED[0])  # the connection stands
        took_s = []
        for message in MALFORMED:
            started = time.monotonic()
            ask(sender, message)
            took_s.append(time.monotonic() - started)
        return took_s


def worker_back_s(daemon: RunningDaemon, witness: Witness) -> float:
    """SIGKILL of the worker, until a part is scored again. The frames that it costs are heard."""
    worker = daemon.wait_for_worker()
    with Camera(daemon) as camera:
        witness.heard(camera.send(picture(1)))
        started = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        while witness.heard(camera.send(picture(2)))["reason"] is not None:
            pass
        return time.monotonic() - started


def hang_found_s(daemon: RunningDaemon, witness: Witness) -> float:
    """SIGSTOP of the worker, until who sent to it is told that its frame is lost."""
    worker = daemon.wait_for_worker()
    with Camera(daemon) as camera:
        witness.heard(camera.send(picture(1)))
        started = time.monotonic()
        os.kill(worker, signal.SIGSTOP)
        verdict = camera.send(picture(2))
        took_s = time.monotonic() - started
    assert verdict["reason"] == "worker_lost", verdict
    witness.knows_spoiled(verdict)
    return took_s


def stopped_s(daemon: RunningDaemon, witness: Witness) -> float:
    """SIGTERM under the load of three cameras, until the daemon has exited with 0 and everyone was answered."""
    with Load(daemon, ["top", "side", "other"]) as load:
        load.reaches(20)
        started = time.monotonic()
        assert daemon.terminate() == ExitCode.OK, daemon.log.read_text()[-4000:]
        took_s = time.monotonic() - started
        witness.hears(load.finish())
    return took_s


def wait_for_standby(daemon: RunningDaemon) -> None:
    """Until the second worker process has imported everything, and so uses the processor no more."""
    worker, used_s = daemon.wait_for_worker(), [0.0]

    def waits() -> bool:
        assert daemon.process is not None
        children = psutil.Process(daemon.process.pid).children()
        standby = [each for each in children if each.pid != worker and "daemon.worker" in each.cmdline()]
        if not standby:
            return False
        time.sleep(0.5)
        before, used_s[0] = used_s[0], standby[0].cpu_times().user
        return IMPORTED_S < before == used_s[0]

    until(waits, "the standby")
