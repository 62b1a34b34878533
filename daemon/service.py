"""The service put together: what is built from the settings, and in which order it starts and stops.

The ingress loop runs in the main thread; beside it the recorder, the pages, the watch over SQL and Redis,
and the caretaker. Every part registers its end as it begins, so the stop order of docs/architecture.md is
the start order backwards, also when a start fails half-way.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import zmq

from daemon import interpreter, logs
from daemon.camera_socket import CameraSocket
from daemon.cameras import CameraDirectory
from daemon.caretaker import Caretaker, Watched
from daemon.clock import SystemClock
from daemon.curve import Guard, ZapHandler
from daemon.dependencies import DependencyWatch
from daemon.door import door_of
from daemon.drift_watch import DriftOptions, DriftWatch
from daemon.exit_codes import ExitCode
from daemon.health import HealthServer, Pages
from daemon.ingress import Ingress
from daemon.live_settings import ingress_options
from daemon.metrics import PrometheusObserver
from daemon.notify import Notifier
from daemon.orders import Orders
from daemon.outbox import Outbox
from daemon.outputs.outputs import Outputs, outputs_of
from daemon.publisher import VerdictPublisher
from daemon.readiness import CHECKS
from daemon.recorder import Recorder
from daemon.reload import Reloader, flag_on_sighup
from daemon.settings import Settings
from daemon.state_folder import prepare_state
from daemon.stopping import StopFlag, stop_on_a_dying_thread, stop_on_signals
from daemon.storekeeper import Storekeeper
from daemon.supervisor import WorkerWatch
from daemon.surroundings import open_records, start_dependencies, start_storekeeper
from daemon.vitals import Parts, Vitals
from daemon.worker_launch import WorkerLauncher, watch_options
from daemon.worker_port import ZmqWorkerPort

log = logging.getLogger(__name__)

# The stop's 20 s, shared out: frames in flight, the worker, outbox -> outputs and SQL, and a little for the rest.
DRAIN_S = 9.0
WORKER_STOP_S = 3.0
RECORDER_DRAIN_S = 5.0
OUTPUTS_STOP_S = 1.0
LAST_REPLIES_MS = 500


def run(settings: Settings, load: Callable[[], Settings]) -> ExitCode:
    """The life of the process, on one screen. Call it from the main thread. load: reads the settings anew.

    Raises what daemon.__main__ turns into exit codes: ConfigurationError, OutboxInUse, OutboxUnavailable,
    zmq.ZMQError, BindError.
    """
    interpreter.take_turns_often()
    stop = StopFlag()
    stop_on_signals(stop)
    stop_on_a_dying_thread(stop)
    asked = flag_on_sighup(stop)
    prepare_state(settings.state.dir)
    with ExitStack() as running:  # ends backwards: that is the stop order
        ingress, tend = _Builder(settings, stop, running).build(asked, load)
        ingress.run(stop, tend=tend)
    log.info("stopped")
    return stop.exit_code


class _Builder:
    """Builds and starts every part but the loop, in order; `running` collects how each ends."""

    def __init__(self, settings: Settings, stop: StopFlag, running: ExitStack) -> None:
        self._settings = settings
        self._stop = stop
        self._running = running
        self._state = settings.state.dir.resolve()
        self._clock = SystemClock()
        self._guard = Guard.of(settings)
        self._drift = DriftWatch(
            lines=[line.id for line in settings.lines],
            options=DriftOptions(**settings.drift.model_dump()),
            state_dir=self._state,
            clock=self._clock,
        )
        self._observer = PrometheusObserver(
            lines=settings.lines,
            cameras=settings.cameras,
            checks=CHECKS,
            sinks=(*settings.mqtt, *settings.webhooks),
            drift=self._drift,
            state_dir=self._state,
            outbox_max_rows=settings.outbox.max_rows,
        )

    def build(self, asked: threading.Event, load: Callable[[], Settings]) -> tuple[Ingress, Callable[[], None]]:
        """Everything, started; the loop, and what belongs into each of its turns, are for the caller to run."""
        settings, running = self._settings, self._running
        notifier = Notifier()
        running.callback(notifier.close)
        notifier.loading("starting", more_s=settings.worker.start_timeout_s)
        reloader = Reloader(
            settings, asked=asked, load=load, notifier=notifier, observer=self._observer, clock=self._clock
        )
        # The outbox first: its lock keeps a second daemon away from everything below.
        outputs = outputs_of(settings, state=self._state, observer=self._observer, clock=self._clock)
        outbox = Outbox(
            self._state / "outbox.db",
            keep_rows=settings.outbox.keep_rows,
            max_rows=settings.outbox.max_rows,
            held_after=lambda: outputs.kept,
        )
        running.callback(outbox.close)
        running.callback(self._drift.save)
        records = open_records(settings, running)
        context = zmq.Context[zmq.Socket[bytes]]()
        running.callback(context.term)
        recorder = Recorder(outbox=self._state / "outbox.db", records=records, observer=self._observer)
        launcher = WorkerLauncher(settings, self._stop)
        running.callback(launcher.close)
        workers = self._open_workers(context, launcher)
        cameras, publisher = self._bind(context)
        zap = self._start_zap(context, cameras, reloader)
        ingress = self._ingress(outbox, recorder, workers, cameras, publisher)
        # The loop's own drain is long over then; this one tells late senders BUSY and marks what SQL took.
        running.callback(ingress.drain)
        dependencies = start_dependencies(settings, running, records, observer=self._observer)
        keeper = start_storekeeper(settings, running, records, observer=self._observer, clock=self._clock)
        recorder.start()
        running.callback(partial(_drain, recorder))
        outputs.start()
        running.callback(partial(outputs.stop, OUTPUTS_STOP_S))
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
                outputs=outputs,
                storekeeper=keeper,
                drift=self._drift,
                config=reloader.status,
            )
        )
        orders = Orders(workers, keeper, reloader)
        reloader.followed_by(
            self._tell_of,
            partial(setattr, launcher, "settings"),
            partial(setattr, vitals, "settings"),
            orders.give,
            lambda new: ingress.reconfigure(
                CameraDirectory.of(new.lines, new.cameras), ingress_options(new, drain_s=DRAIN_S)
            ),
        )
        http = self._start_pages(vitals)
        self._start_caretaker(vitals, notifier, http, recorder, dependencies, zap, outputs, keeper)
        log.info(
            "cameras send to %s, verdicts are published on %s, pages are on port %d",
            cameras.endpoint,
            publisher.endpoint,
            http.port,
        )
        return ingress, orders.tend

    def _tell_of(self, new: Settings) -> None:
        """Logs and metrics by new settings."""
        logs.configure(format=new.log.format, level=new.log.level)
        self._observer.configure(lines=new.lines, cameras=new.cameras)
        self._drift.watch(line.id for line in new.lines)

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]]) -> tuple[CameraSocket, VerdictPublisher]:
        publisher = VerdictPublisher(context, self._settings.publish.bind, guard=self._guard)
        self._running.callback(partial(publisher.close, linger_ms=LAST_REPLIES_MS))
        cameras = CameraSocket(context, self._settings.ingest.bind, observer=self._observer, guard=self._guard)
        self._running.callback(partial(cameras.close, linger_ms=LAST_REPLIES_MS))
        return cameras, publisher

    def _start_zap(
        self, context: zmq.Context[zmq.Socket[bytes]], cameras: CameraSocket, reloader: Reloader
    ) -> ZapHandler:
        """Who asked before it answers waits for it: a secured socket lets nobody in by itself."""

        def has_room(let_in: int) -> bool:
            return cameras.places_taken(let_in) < reloader.settings.ingest.max_connections

        ring = None if self._guard is None else self._guard.ring
        zap = ZapHandler(context, ring, observer=self._observer, has_room=has_room)
        self._running.callback(zap.stop)
        zap.start()
        return zap

    def _open_workers(self, context: zmq.Context[zmq.Socket[bytes]], launcher: WorkerLauncher) -> ZmqWorkerPort:
        workers = ZmqWorkerPort(
            context,
            run_dir=self._state / "run",
            launch=launcher,
            prepare=launcher.prepare,
            watch=WorkerWatch(watch_options(self._settings)),
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
            options=ingress_options(settings, drain_s=DRAIN_S),
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
        zap: ZapHandler,
        outputs: Outputs,
        keeper: Storekeeper,
    ) -> None:
        caretaker = Caretaker(
            Watched(
                threads={
                    "recorder": lambda: recorder.alive,
                    "http": lambda: http.alive,
                    "dependencies": dependencies.is_alive,
                    "zap": zap.is_alive,
                    "storekeeper": keeper.is_alive,
                    **outputs.threads,
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
