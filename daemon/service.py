"""The service put together: what is built from the settings, and in which order it starts and stops.

The ingress loop runs in the main thread; beside it the recorder, the pages, the watch over SQL and Redis,
and the caretaker. Every part registers its end as it begins, so the stop order of docs/architecture.md is
the start order backwards, also when a start fails half-way.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import zmq

from daemon import __version__
from daemon.admission import IngressOptions
from daemon.bank_cache import BankCache
from daemon.camera_socket import CameraSocket
from daemon.cameras import CameraDirectory
from daemon.caretaker import Caretaker, Watched
from daemon.clock import SystemClock
from daemon.curve import Guard, ZapHandler
from daemon.database import RecordsUnavailable
from daemon.dependencies import DependencyWatch
from daemon.door import door_of
from daemon.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from daemon.exit_codes import ExitCode
from daemon.health import HealthServer, Pages
from daemon.ingress import Ingress
from daemon.metrics import PrometheusObserver
from daemon.notify import Notifier
from daemon.outbox import Outbox
from daemon.publisher import VerdictPublisher
from daemon.readiness import CHECKS
from daemon.recorder import Recorder
from daemon.records import Records
from daemon.settings import ConfigurationError, Settings
from daemon.stopping import StopFlag, stop_on_a_dying_thread, stop_on_signals
from daemon.supervisor import WatchOptions, WorkerWatch
from daemon.verdicts import Provenance
from daemon.vitals import Parts, Vitals
from daemon.wire import WireLimits
from daemon.worker_launch import WorkerLauncher
from daemon.worker_port import ZmqWorkerPort

log = logging.getLogger(__name__)

# The stop's 20 s, shared out: frames in flight, the worker, outbox -> SQL, and a little for the rest.
DRAIN_S = 9.0
WORKER_STOP_S = 3.0
RECORDER_DRAIN_S = 5.0
EMBEDDED_STOP_S = 1.0
LAST_REPLIES_MS = 500

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket path (sun_path holds 108 with its final zero)."""
LONGEST_SOCKET_NAME = "frames-0-1000000.sock"


def run(settings: Settings) -> ExitCode:
    """The life of the process, on one screen. Call it from the main thread.

    Raises what daemon.__main__ turns into exit codes: ConfigurationError, OutboxInUse, OutboxUnavailable,
    zmq.ZMQError, BindError.
    """
    stop = StopFlag()
    stop_on_signals(stop)
    stop_on_a_dying_thread(stop)
    prepare_state(settings.state.dir)
    with ExitStack() as running:  # ends backwards: that is the stop order
        ingress = _Builder(settings, stop, running).build()
        ingress.run(stop)
    log.info("stopped")
    return stop.exit_code


def prepare_state(state_dir: Path) -> None:
    """Make the state folder and its run folder. Raises ConfigurationError where that cannot be."""
    run_dir = state_dir.resolve() / "run"
    length = len(os.fsencode(run_dir / LONGEST_SOCKET_NAME))
    if length > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"state.dir: its path is {length - MAX_SOCKET_PATH} bytes too long for the sockets in {run_dir} "
            f"(a Unix socket path ends at {MAX_SOCKET_PATH} bytes)"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise ConfigurationError(f"state.dir: cannot create {run_dir}: {error.strerror}") from error
    for folder in (run_dir.parent, run_dir):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(f"state.dir: expected a folder that can be written, got {folder}")


class _Builder:
    """Builds and starts every part but the loop, in order; `running` collects how each ends."""

    def __init__(self, settings: Settings, stop: StopFlag, running: ExitStack) -> None:
        self._settings = settings
        self._stop = stop
        self._running = running
        self._state = settings.state.dir.resolve()
        self._clock = SystemClock()
        self._guard = Guard.of(settings)
        self._observer = PrometheusObserver(
            lines=settings.lines,
            cameras=settings.cameras,
            checks=CHECKS,
            state_dir=self._state,
            outbox_max_rows=settings.outbox.max_rows,
        )

    def build(self) -> Ingress:
        """Everything, started; the loop is for the caller to run."""
        settings, running = self._settings, self._running
        notifier = Notifier()
        running.callback(notifier.close)
        notifier.loading("starting", more_s=settings.worker.start_timeout_s)
        # The outbox first: its lock keeps a second daemon away from everything below.
        outbox = Outbox(self._state / "outbox.db", keep_rows=settings.outbox.keep_rows)
        running.callback(outbox.close)
        records = self._open_records()
        context = zmq.Context[zmq.Socket[bytes]]()
        running.callback(context.term)
        recorder = Recorder(outbox=self._state / "outbox.db", records=records, observer=self._observer)
        workers = self._open_workers(context)
        cameras, publisher = self._bind(context)
        zap = self._start_zap(context, cameras)
        ingress = self._ingress(outbox, recorder, workers, cameras, publisher)
        # The loop's own drain is long over then; this one tells late senders BUSY and marks what SQL took.
        running.callback(ingress.drain)
        dependencies = self._start_dependencies(records)
        recorder.start()
        running.callback(partial(_drain, recorder))
        running.callback(partial(workers.stop, WORKER_STOP_S))
        vitals = Vitals(
            Parts(
                settings=settings,
                stop=self._stop,
                ingress=ingress,
                workers=workers,
                outbox=outbox,
                recorder=recorder,
                dependencies=dependencies,
                started_at=self._clock.now(),
                keys=None if self._guard is None else self._guard.ring,
            )
        )
        http = self._start_pages(vitals)
        self._start_caretaker(vitals, notifier, http, recorder, dependencies, zap)
        log.info(
            "cameras send to %s, verdicts are published on %s, pages are on port %d",
            cameras.endpoint,
            publisher.endpoint,
            http.port,
        )
        return ingress

    def _open_records(self) -> Records:
        records = Records(self._settings.records_url)
        self._running.callback(records.close)
        try:
            records.prepare()
        except RecordsUnavailable as error:
            log.warning("SQL is not there; verdicts wait in the outbox: %s", error)
        return records

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]]) -> tuple[CameraSocket, VerdictPublisher]:
        publisher = VerdictPublisher(context, self._settings.publish.bind, guard=self._guard)
        self._running.callback(partial(publisher.close, linger_ms=LAST_REPLIES_MS))
        cameras = CameraSocket(context, self._settings.ingest.bind, observer=self._observer, guard=self._guard)
        self._running.callback(partial(cameras.close, linger_ms=LAST_REPLIES_MS))
        return cameras, publisher

    def _start_zap(self, context: zmq.Context[zmq.Socket[bytes]], cameras: CameraSocket) -> ZapHandler | None:
        """Who asked before it answers waits for it: a secured socket lets nobody in by itself."""
        if self._guard is None:
            return None
        most = self._settings.ingest.max_connections
        zap = ZapHandler(
            context, self._guard.ring, observer=self._observer, has_room=lambda: cameras.connections <= most
        )
        self._running.callback(zap.stop)
        zap.start()
        return zap

    def _start_dependencies(self, records: Records) -> DependencyWatch:
        settings = self._settings
        cache = BankCache(settings.redis_url)
        self._running.callback(cache.close)
        embedded = EmbeddedRedis(settings.redis_socket, self._state / "redis") if settings.redis_embedded else None
        if embedded is not None:
            self._running.callback(partial(embedded.stop, timeout_s=EMBEDDED_STOP_S))
            try:
                embedded.start()
            except EmbeddedRedisError as error:
                log.warning("no Redis; banks come from files: %s", error)
        watch = DependencyWatch(records=records, cache=cache, embedded=embedded, observer=self._observer)
        watch.start()
        self._running.callback(partial(watch.stop, timeout_s=1.0))
        return watch

    def _open_workers(self, context: zmq.Context[zmq.Socket[bytes]]) -> ZmqWorkerPort:
        worker = self._settings.worker
        launcher = WorkerLauncher(self._settings, self._stop)
        self._running.callback(launcher.close)
        workers = ZmqWorkerPort(
            context,
            run_dir=self._state / "run",
            launch=launcher,
            prepare=launcher.prepare,
            watch=WorkerWatch(
                WatchOptions(
                    start_timeout_s=worker.start_timeout_s,
                    beat_timeout_s=worker.beat_timeout_s,
                    batch_timeout_s=worker.batch_timeout_s,
                )
            ),
            observer=self._observer,
            clock=self._clock,
        )
        self._running.callback(workers.close)
        return workers

    def _ingress(
        self,
        outbox: Outbox,
        recorder: Recorder,
        workers: ZmqWorkerPort,
        cameras: CameraSocket,
        publisher: VerdictPublisher,
    ) -> Ingress:
        settings = self._settings
        directory = CameraDirectory.of(settings.lines, settings.cameras)
        return Ingress(
            cameras=directory,
            door=door_of(directory, self._guard),
            options=IngressOptions(
                state_dir=self._state,
                provenance=Provenance(software_version=__version__, host=socket.gethostname()),
                limits=WireLimits(
                    max_message_bytes=settings.ingest.max_message_bytes, max_pixels=settings.ingest.max_pixels
                ),
                max_in_flight=settings.ingest.max_in_flight,
                max_in_flight_bytes=settings.ingest.max_in_flight_bytes,
                max_outbox_rows=settings.outbox.max_rows,
                retry_after_ms=settings.ingest.retry_after_ms,
                drain_s=DRAIN_S,
            ),
            outbox=outbox,
            recording=recorder,
            workers=workers,
            camera_socket=cameras,
            publisher=publisher,
            observer=self._observer,
            clock=self._clock,
        )

    def _start_pages(self, vitals: Vitals) -> HealthServer:
        pages = Pages(registry=self._observer.registry, live=vitals.live, ready=vitals.ready, status=vitals.status)
        http = HealthServer(self._settings.http.bind, pages)
        http.start()
        self._running.callback(http.stop)
        return http

    def _start_caretaker(
        self,
        vitals: Vitals,
        notifier: Notifier,
        http: HealthServer,
        recorder: Recorder,
        dependencies: DependencyWatch,
        zap: ZapHandler | None,
    ) -> None:
        caretaker = Caretaker(
            Watched(
                threads={
                    "recorder": lambda: recorder.alive,
                    "http": lambda: http.alive,
                    "dependencies": dependencies.is_alive,
                    **({} if zap is None else {"keys": zap.is_alive}),
                },
                checks=vitals.ready,
                marks=vitals.marks,
                summary=vitals.summary,
            ),
            stop=self._stop,
            notifier=notifier,
            observer=self._observer,
            start_patience_s=self._settings.worker.start_timeout_s,
        )
        caretaker.start()
        self._running.callback(caretaker.stop)


def _drain(recorder: Recorder) -> None:
    if not recorder.drain(RECORDER_DRAIN_S):
        log.warning("SQL does not take them now: verdicts wait in the outbox for the next start")
