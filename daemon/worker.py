"""The worker process, `python -m daemon.worker`: builds its threads, and ends with a named exit code.

Started by daemon.supervisor with its configuration on standard input, at once or (a standby) when its
predecessor is lost. It ends when standard input does (finishing what it holds), or with its parent. Only the
scorer touches the GPU: its first lane is the main thread, further ones are threads beside it.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq

import core
from core.errors import CoreError
from daemon import allocator, children, interpreter, logs
from daemon.bank_budget import MIB
from daemon.bank_cache import BankCache
from daemon.banks import BankKeeper
from daemon.batch_queue import BatchQueue
from daemon.batch_scoring import AcceleratorLost, BatchScoring
from daemon.batching import buckets_for
from daemon.captures import Captures
from daemon.clock import SystemClock
from daemon.device import cores_of, memory_of
from daemon.evidence import Evidence
from daemon.exit_codes import ExitCode
from daemon.finisher import Finisher
from daemon.intake import Intake
from daemon.kept_frames import KeepRule
from daemon.lane import Lane, ScorerFacts
from daemon.link import WorkerOrders
from daemon.quarantine import Quarantine
from daemon.records import Records
from daemon.scoring_loop import ScoringLoop, SelfTestFailed
from daemon.selftest import SelfTest
from daemon.status_board import Beat, StatusBoard
from daemon.warmup import WarmUp, warm_up
from daemon.worker_config import WITHOUT_CLIP, WorkerConfig, WorkerConfigError

log = logging.getLogger(__name__)

STDIN = 0
FIRST_LOOK_S = 10.0
"""How long READY waits for SQL to name the banks; frames of lines without one are uninspected(no_bank)."""


class Worker:
    """One life of a worker: `run` loads, warms, scores until told to stop, and tidies up."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._clock = SystemClock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._board = StatusBoard(worker=config.worker, life=config.life, clock=self._clock)
        self._records = Records(config.records_url)
        self._cache = None if config.redis_url is None else BankCache(config.redis_url)
        self._keeper = BankKeeper(
            records=self._records,
            cache=self._cache,
            state=config.state,
            lines=config.lines,
            read_bank=lambda data, sha256: core.bank_from_bytes(data, sha256=sha256),
            clock=self._clock,
            budget_bytes=config.bank_budget_mb * MIB,
        )
        self._keep_rule = KeepRule.of(frozenset(config.keep_frames), config.keep_accepted_every)
        self._finisher = Finisher(
            worker=config.worker,
            life=config.life,
            evidence=Evidence(
                state=config.state,
                keep=self._keep_rule,
                board=self._board,
                clock=self._clock,
            ),
            captures=Captures(config.state, self._clock),
            context=self._context,
            endpoint=config.upward_endpoint,
            clock=self._clock,
        )
        self._beat = Beat(self._board, banks=self._keeper, context=self._context, endpoint=config.upward_endpoint)
        self._told_to_end = threading.Event()

    def run(self) -> None:
        """The whole life. Raises CoreError where the model cannot be loaded, and what ends a ScoringLoop."""
        self._beat.start()
        scorer = self._load()
        self._keeper.start()  # after torch: two threads that import it at once can deadlock
        self._keeper.wait_for_first_look(FIRST_LOOK_S)  # before anything is measured: it takes the GIL
        warmed = self._warm(scorer)
        queue = self._queue(warmed)
        lanes = [self._lane(index, scorer, queue, warmed) for index in range(warmed.lanes.count)]
        loop = self._loop(scorer, lanes, partial(core.compute_with, warmed.lanes.threads))
        loop.swap_banks()
        self._finisher.start()
        intake = self._intake(queue, partial(self._follow, lanes))
        intake.start()
        self._board.enter("ready", queued=lambda: len(queue))
        self._beat.now()
        loop.run()
        self._end()

    def end(self) -> None:
        """Finish what is held and end `run`; safe from any thread. A worker still loading holds nothing."""
        self._told_to_end.set()
        if self._board.phase == "loading":
            os._exit(ExitCode.OK)

    def _load(self) -> core.Scorer:
        config = self._config
        scorer = core.load_scorer(
            config.preset,
            weights=config.weights,
            adapter=config.adapter,
            method=config.method,
            activation=config.activation,
            stages=config.stages,
            image_size=config.image_size,
            device=config.device,
            precision=config.precision,
            buckets=buckets_for(config.max_size),
        )
        encoder = scorer.encoder
        self._board.loaded(device=encoder.device, precision=encoder.precision, model_id=encoder.id)
        return scorer

    def _warm(self, scorer: core.Scorer) -> WarmUp:
        warmed = warm_up(
            scorer,
            max_size=self._config.max_size,
            shortest_deadline_ns=self._config.shortest_deadline_ms * 1_000_000,
            clock=self._clock,
            lanes=self._config.lanes,
            cores=cores_of(scorer.encoder),
        )
        self._board.warmed(slowest_ns=max(warmed.batch_ns.values(), default=0), lanes=warmed.lanes.count)
        times = {bucket: f"{ns / 1e6:.1f} ms" for bucket, ns in warmed.batch_ns.items()}
        log.info("warm: %s, batches of at most %d (measured %s)", warmed.lanes, warmed.max_size, times)
        return warmed

    def _queue(self, warmed: WarmUp) -> BatchQueue:
        queue = BatchQueue(
            max_size=warmed.max_size,
            max_delay_ns=int(self._config.max_delay_ms * 1e6),
            clock=self._clock,
        )
        for bucket, took_ns in warmed.batch_ns.items():
            if bucket <= warmed.max_size:
                queue.observe(bucket, took_ns)
        return queue

    def _intake(self, queue: BatchQueue, follow: Callable[[WorkerOrders], None]) -> Intake:
        return Intake(
            queue,
            answer=self._finisher.put_one,
            follow=follow,
            ended=self._told_to_end,
            context=self._context,
            endpoint=self._config.frames_endpoint,
            decode_threads=self._config.decode_threads,
            max_pixels=self._config.max_pixels,
            clock=self._clock,
        )

    def _lane(self, index: int, scorer: core.Scorer, queue: BatchQueue, warmed: WarmUp) -> Lane:
        config = self._config
        scoring = BatchScoring(
            scorer,
            max_size=warmed.max_size,
            keep_heatmaps=frozenset(config.keep_heatmaps),
            quarantine=Quarantine(config.state).put,
            clock=self._clock,
        )
        return Lane(
            index=index,
            scoring=scoring,
            queue=queue,
            banks=self._keeper.current,
            out=self._finisher,
            board=self._board,
            facts=ScorerFacts(
                worker=config.worker, model_id=scorer.encoder.id, adapter_sha256=scorer.adapter_sha256
            ),
            clock=self._clock,
        )

    def _loop(self, scorer: core.Scorer, lanes: Sequence[Lane], enter_lane: Callable[[], None]) -> ScoringLoop:
        encoder = scorer.encoder
        return ScoringLoop(
            scorer=scorer,
            lanes=lanes,
            banks=self._keeper,
            board=self._board,
            selftest=SelfTest(scorer=scorer, device=encoder.device, precision=encoder.precision),
            clock=self._clock,
            enter_lane=enter_lane,
            tell=self._beat.now,
            device_memory=partial(memory_of, scorer.encoder),
        )

    def _follow(self, lanes: Sequence[Lane], orders: WorkerOrders) -> None:
        """New orders, on the intake's thread: each is one assignment that the other threads see at once."""
        logs.configure(format=orders.log_format, level=orders.log_level)
        for lane in lanes:
            lane.scoring.keep_heatmaps = frozenset(orders.keep_heatmaps)
        self._keep_rule.decisions = frozenset(orders.keep_frames)
        self._keep_rule.accept_every = orders.keep_accepted_every
        self._keeper.watch(orders.lines)

    def _end(self) -> None:
        """Answers first, then the last heartbeat, then everything that nobody waits for."""
        self._board.enter("stopping")
        self._finisher.stop()
        self._beat.stop()
        self._keeper.stop()
        self._records.close()
        if self._cache is not None:
            self._cache.close()
        self._context.term()


def read_config() -> WorkerConfig | None:
    """The first line of standard input, waiting for it; None where it ends without. Raises WorkerConfigError."""
    with open(STDIN, "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    return WorkerConfig.from_line(line) if line else None


def import_ahead(*, clip: bool = True) -> None:
    """All that a life imports before it loads weights: nearly the whole time from its start to READY."""
    from core.towers import import_clip

    if clip:
        import_clip()
    _ = core.load_scorer, core.bank_from_bytes  # `core` imports what it names when it is named


def main() -> int:
    """Run one life and say how it ended."""
    allocator.keep_freed_memory()
    if not select.select([STDIN], [], [], 0)[0]:  # a standby
        children.die_with_parent(os.getppid())
        import_ahead(clip=WITHOUT_CLIP not in sys.argv)
    try:
        config = read_config()
    except WorkerConfigError as error:
        logging.getLogger(__name__).error("%s", error)
        return ExitCode.USAGE
    if config is None:  # a standby that nobody needed
        return ExitCode.OK
    children.die_with_parent(config.parent_pid)
    logs.configure(format=config.log_format, level=config.log_level)
    threading.excepthook = _end_with_the_thread
    interpreter.take_turns_often()
    worker = Worker(config)
    threading.Thread(target=_follow_stdin, args=(worker,), name="leash", daemon=True).start()
    try:
        worker.run()
    except CoreError as error:
        log.error("the model cannot be loaded: %s", error)
        return ExitCode.CONFIG
    except (AcceleratorLost, SelfTestFailed) as error:
        log.error("this life of the worker ends: %s", error)
        return ExitCode.SOFTWARE
    return ExitCode.OK


def _follow_stdin(worker: Worker) -> None:
    while os.read(STDIN, 4096):
        pass
    worker.end()


def _end_with_the_thread(failure: threading.ExceptHookArgs) -> None:
    """A worker without one of its threads would be a live-looking corpse."""
    where = failure.thread.name if failure.thread else "a thread"
    trace: Any = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    log.critical("%s ended by an exception", where, exc_info=trace)
    os._exit(ExitCode.SOFTWARE)


if __name__ == "__main__":
    # Threads of C libraries and a lost accelerator can hang an orderly exit; all is closed by now.
    code = main()
    logging.shutdown()
    os._exit(code)
