"""The scorer's loop in the worker's main thread: banks and self-tests, then a turn of the first lane.

Further lanes (daemon.lanes) take their batches in threads beside it. A batch sees the banks as they were when it
began; only this loop puts others in charge.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from daemon.banks import BankKeeper
from daemon.clock import Clock
from daemon.lane import Lane
from daemon.selftest import SelfTest
from daemon.status_board import StatusBoard
from daemon.work import PreparedBank, Scorer

SELFTEST_NS = 3600 * 1_000_000_000
MEMORY_NS = 1_000_000_000


class SelfTestFailed(Exception):
    """A model that worked computes something else now: the next life begins with a fresh one."""


class ScoringLoop:
    """Runs in the worker's main thread until all lanes are drained.

    lanes: the first belongs to this thread, each other gets one. enter_lane: called first in each of those.
    tell: called when banks were put in charge or refused, for whoever waits for that. device_memory: bytes by name
    of link.WorkerStatus.device_memory; asked for by this thread alone, which uses the device anyway.
    """

    def __init__(
        self,
        *,
        scorer: Scorer,
        lanes: Sequence[Lane],
        banks: BankKeeper,
        board: StatusBoard,
        selftest: SelfTest,
        clock: Clock,
        enter_lane: Callable[[], None] = lambda: None,
        tell: Callable[[], None] = lambda: None,
        device_memory: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._scorer = scorer
        self._lanes = lanes
        self._banks = banks
        self._board = board
        self._selftest = selftest
        self._enter_lane = enter_lane
        self._tell = tell
        self._device_memory = device_memory
        self._looked_ns: int | None = None
        self._clock = clock
        self._tested_ns = clock.monotonic_ns()
        self._failed_check = False

    def run(self) -> None:
        """Turn until drained. Raises AcceleratorLost and SelfTestFailed, which end this life of the worker.

        What a lane beside this thread raises goes to threading.excepthook, which ends it as well.
        """
        beside = [
            threading.Thread(target=self._run_beside, args=(lane,), name=f"lane-{index}", daemon=True)
            for index, lane in enumerate(self._lanes[1:], start=1)
        ]
        for thread in beside:
            thread.start()
        while not self._lanes[0].drained:
            self.turn()
        for thread in beside:
            thread.join()

    def turn(self) -> None:
        """One turn: at most one batch."""
        self.swap_banks()
        self._test_hourly()
        self._look_at_memory()
        self._lanes[0].turn()

    def swap_banks(self) -> None:
        """Take what the bank keeper has staged; each new bank passes the golden self-test first."""
        self._failed_check = False
        if self._banks.swap_in(self._scorer.prepare, self._check) or self._failed_check:
            enrolled = bool(self._banks.current())
            self._board.selftest("failed" if self._failed_check else "passed" if enrolled else "skipped")
            self._tell()

    def _look_at_memory(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._looked_ns is None or now_ns - self._looked_ns >= MEMORY_NS:
            self._looked_ns = now_ns
            self._board.device_memory(self._device_memory())

    def _run_beside(self, lane: Lane) -> None:
        self._enter_lane()
        lane.run()

    def _check(self, prepared: PreparedBank) -> str | None:
        error = self._selftest.error(prepared)
        self._failed_check = self._failed_check or error is not None
        return error

    def _test_hourly(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._tested_ns < SELFTEST_NS:
            return
        self._tested_ns = now_ns
        for bank in self._banks.current().values():
            error = self._selftest.error(bank.prepared)
            if error is not None:
                self._board.selftest("failed")
                raise SelfTestFailed(error)
