"""The worker as ingress sees it: a place to send frames, a socket with answers, and which frames are lost.

`WorkerPort` is what the loop needs; `ZmqWorkerPort` is the real one: it keeps one worker process running,
a fresh frames endpoint for each of its lives, so that no life sees its predecessor's frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import zmq

from daemon.clock import Clock
from daemon.link import (
    FrameHeader,
    LinkError,
    ScoredBatch,
    WorkerOrders,
    WorkerStatus,
    pack_frame_header,
    pack_orders,
    unpack_upward,
)
from daemon.observer import Observer
from daemon.supervisor import Health, WorkerWatch

log = logging.getLogger(__name__)

MAX_MESSAGES = 256
"""Upward messages read in one turn."""


class WorkerPort(Protocol):
    """All that the ingress loop knows of workers. No method waits."""

    @property
    def ready(self) -> bool:
        """Whether a frame may be sent."""
        ...

    @property
    def poll_socket(self) -> zmq.Socket[bytes]:
        """Readable when `receive` has something."""
        ...

    def send(self, header: FrameHeader, payload: memoryview) -> bool:
        """Hand a frame over; False if the worker cannot take it after all."""
        ...

    def receive(self) -> list[ScoredBatch | WorkerStatus]:
        """What workers have said since the last call."""
        ...

    def check(self) -> list[str]:
        """Replace what does not work. The keys of frames that died with it."""
        ...


class Process(Protocol):
    """What is needed of daemon.supervisor.WorkerProcess."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...

    def stop(self, timeout_s: float) -> int: ...


Launch = Callable[[int, str, str], Process]
"""(life, frames endpoint, upward endpoint) -> the started worker."""


class ZmqWorkerPort:
    """One supervised worker process behind a PUSH (frames) and a PULL (answers), both ipc in `run_dir`.

    prepare: called when a life is ready, to make the next start short.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        run_dir: Path,
        launch: Launch,
        watch: WorkerWatch,
        observer: Observer,
        clock: Clock,
        worker: int = 0,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._run_dir = run_dir
        self._launch = launch
        self._watch = watch
        self._observer = observer
        self._clock = clock
        self._gpu = str(worker)
        self._prepare = prepare
        self._process: Process | None = None
        self._frames: zmq.Socket[bytes] | None = None
        self._life = 0
        self._restart_at_ns = clock.monotonic_ns()
        self._restart_reason: Health | None = None
        self._unanswered: set[str] = set()
        self._status: WorkerStatus | None = None
        self._orders: WorkerOrders | None = None
        self._upward = _bound(context, zmq.PULL, self._endpoint(f"upward-{self._gpu}"))

    @property
    def ready(self) -> bool:
        """Whether the present life is warm and not ending."""
        return self._frames is not None and self._watch.ready

    @property
    def poll_socket(self) -> zmq.Socket[bytes]:
        """The socket that answers and heartbeats come up."""
        return self._upward

    @property
    def status(self) -> WorkerStatus | None:
        """The last heartbeat of the present life; None before its first."""
        return self._status

    def send(self, header: FrameHeader, payload: memoryview) -> bool:
        """Hand a frame over without copying it; False if no worker takes it now."""
        if self._frames is None:
            return False
        try:
            self._frames.send_multipart((pack_frame_header(header), payload), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        self._unanswered.add(header.key)
        return True

    def order(self, orders: WorkerOrders) -> None:
        """Tell the worker, before the next frame; one that is still starting, as soon as it is ready."""
        self._orders = orders
        if self.ready:
            self._tell_orders()

    def receive(self) -> list[ScoredBatch | WorkerStatus]:
        """Answers and heartbeats, also a dead life's last answers."""
        messages: list[ScoredBatch | WorkerStatus] = []
        for _ in range(MAX_MESSAGES):
            try:
                message = unpack_upward(self._upward.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
            except (LinkError, TypeError, KeyError) as error:
                log.error("a worker said what cannot be read: %s", error)
                continue
            self._note(message)
            messages.append(message)
        return messages

    def check(self) -> list[str]:
        """Start, judge and replace the worker; the keys that died with it."""
        now_ns = self._clock.monotonic_ns()
        if self._process is None:
            if now_ns >= self._restart_at_ns:
                self._start(now_ns)
            return []
        health = self._watch.health(now_ns, exited=self._process.poll() is not None)
        return [] if health is Health.OK else self._replace(health, now_ns)

    def stop(self, timeout_s: float) -> None:
        """End the worker, kindly first. Nothing is started again."""
        if self._process is not None:
            self._process.stop(timeout_s)
            self._process = None
        self._restart_at_ns = 2**63
        self._close_frames()

    def close(self) -> None:
        """Stop at once and close the sockets."""
        self.stop(0)
        self._upward.close(0)
        self._path(f"upward-{self._gpu}").unlink(missing_ok=True)

    def _note(self, message: ScoredBatch | WorkerStatus) -> None:
        if isinstance(message, ScoredBatch):
            self._unanswered.difference_update(frame.key for frame in message.frames)
        elif message.life == self._life and self._process is not None:
            was_ready = self._watch.ready
            self._watch.seen(message, self._clock.monotonic_ns())
            self._status = message
            if self._watch.ready and not was_ready:
                log.info("worker %s is ready (life %d, pid %d)", self._gpu, self._life, message.pid)
                self._observer.worker_up(self._gpu, up=True)
                self._tell_orders()
                self._prepare()

    def _tell_orders(self) -> None:
        if self._orders is None or self._frames is None:
            return
        try:
            self._frames.send(pack_orders(self._orders), zmq.NOBLOCK)
        except zmq.Again:  # it has just died: its successor is told at its start
            log.warning("worker %s does not take its new orders", self._gpu)

    def _start(self, now_ns: int) -> None:
        self._life += 1
        name = f"frames-{self._gpu}-{self._life}"
        self._frames = _bound(self._context, zmq.PUSH, self._endpoint(name))
        self._process = self._launch(self._life, self._endpoint(name), self._endpoint(f"upward-{self._gpu}"))
        self._watch.started(self._life, now_ns)
        if self._restart_reason is not None:
            self._observer.worker_restarted(self._gpu, self._restart_reason.value)

    def _replace(self, health: Health, now_ns: int) -> list[str]:
        process, self._process = self._process, None
        if process is not None:
            log.error("worker %s (life %d, pid %d) is lost: %s", self._gpu, self._life, process.pid, health)
            process.kill()
        self._close_frames()
        self._observer.worker_up(self._gpu, up=False)
        self._restart_reason, self._status = health, None
        self._restart_at_ns = self._watch.restart_at_ns(now_ns)
        lost, self._unanswered = list(self._unanswered), set()
        return lost

    def _close_frames(self) -> None:
        if self._frames is not None:
            self._frames.close(0)
            self._frames = None
            self._path(f"frames-{self._gpu}-{self._life}").unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._run_dir / f"{name}.sock"

    def _endpoint(self, name: str) -> str:
        return f"ipc://{self._path(name)}"


def _bound(context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str) -> zmq.Socket[bytes]:
    """A bound socket without a queue limit: what is in flight is the limit. Raises zmq.ZMQError."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket
