"""Cameras as tests have them: stock imagezmq senders, one or many, and native messages by hand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import imagezmq
import numpy as np
import simplejpeg
import zmq

from daemon.native_sender import CurveKeys
from tests.end_to_end.harness import RunningDaemon, picture, until

NOWHERE = "tcp://127.0.0.1:9"


class Camera:
    """A stock imagezmq sender that does not hang for ever where a test fails. keys: None without CURVE."""

    def __init__(
        self,
        daemon: RunningDaemon,
        name: str = "top",
        *,
        patience_ms: int = 60_000,
        keys: CurveKeys | None = None,
    ) -> None:
        self.name = name
        self._sender = imagezmq.ImageSender(connect_to=NOWHERE if keys else daemon.ingest)
        self._sender.zmq_socket.setsockopt(zmq.RCVTIMEO, patience_ms)
        self._sender.zmq_socket.setsockopt(zmq.LINGER, 0)
        if keys is not None:  # the recipe of deploy/INSTALL.md
            self._sender.zmq_socket.disconnect(NOWHERE)
            show(self._sender.zmq_socket, keys)
            self._sender.zmq_socket.connect(daemon.ingest)

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()

    def send(self, image: np.ndarray, **fields: object) -> dict[str, Any]:
        """Send a raw BGR picture; the verdict."""
        return json.loads(self._sender.send_image(self._message(fields), image))

    def send_jpeg(self, image: np.ndarray) -> dict[str, Any]:
        """Send a JPEG; the verdict."""
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorspace="BGR")
        return json.loads(self._sender.send_jpg(self.name, data))

    def send_bytes(self, data: bytes) -> bytes:
        """Send what claims to be a JPEG or PNG; the reply as it came."""
        return bytes(self._sender.send_jpg(self.name, data))

    def send_text(self, image: np.ndarray) -> bytes:
        """Send a picture; the reply as it came."""
        return bytes(self._sender.send_image(self.name, image))

    def _message(self, fields: dict[str, object]) -> str:
        return ";".join([f"camera={self.name}", *(f"{name}={value}" for name, value in fields.items())])


class Load:
    """Stock senders in threads that send until told to stop; `answers` is every reply that came,
    `took_s` the seconds each took.

    patience_ms: with it a sender that hears nothing for so long, or is turned away, connects anew; without, the
    first is an error and the second its end. pace_s: the pause after each answer. keys: of cameras that have one.
    """

    def __init__(
        self,
        daemon: RunningDaemon,
        cameras: list[str],
        *,
        patience_ms: int | None = None,
        pace_s: float = 0.0,
        keys: Mapping[str, CurveKeys] | None = None,
    ) -> None:
        self._patience_ms = patience_ms
        self._pace_s = pace_s
        self._keys = keys or {}
        self._daemon = daemon
        self._cameras = cameras
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(len(cameras))
        self._lock = threading.Lock()
        self.answers: list[bytes] = []
        self.took_s: list[float] = []

    def __enter__(self) -> Load:
        self._jobs = [self._pool.submit(self._run, name, seed) for seed, name in enumerate(self._cameras)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._pool.shutdown()

    def finish(self) -> list[bytes]:
        """Let every sender take its last answer. Raises what a sender raised."""
        self._ending.set()
        for job in self._jobs:
            job.result(timeout=60)
        return self.answers

    def reaches(self, count: int) -> None:
        """Wait until so many answers came."""
        until(lambda: len(self.answers) >= count, f"{count} answers")

    def verdicts(self) -> list[dict[str, Any]]:
        """The answers that are verdicts."""
        return [json.loads(answer) for answer in self.answers if answer.startswith(b"{")]

    def _run(self, name: str, seed: int) -> None:
        while not self._ending.is_set():
            try:
                seed = self._send_until_turned_away(name, seed)
            except zmq.Again:
                if self._patience_ms is None:
                    raise
            if self._patience_ms is None:
                return
            self._ending.wait(0.2)

    def _send_until_turned_away(self, name: str, seed: int) -> int:
        patience_ms, keys = self._patience_ms or 60_000, self._keys.get(name)
        with Camera(self._daemon, name, patience_ms=patience_ms, keys=keys) as camera:
            while not self._ending.is_set():
                seed += 100
                image, started = picture(seed), time.monotonic()
                answer = camera.send_text(image)
                with self._lock:
                    self.took_s.append(time.monotonic() - started)
                    self.answers.append(answer)
                if answer.startswith(b"BUSY restart"):
                    break
                self._ending.wait(self._pace_s)
        return seed


def native_message(seq: int, image: np.ndarray, *, camera: str = "side", boot: str = "boot-1") -> list[bytes]:
    """A native v1 frame without its route."""
    header = {
        "v": 1,
        "camera": camera,
        "boot": boot,
        "seq": seq,
        "enc": "raw",
        "dtype": "uint8",
        "shape": image.shape,
        "color": "bgr",
    }
    return [b"", b"APG1", json.dumps(header).encode(), image.tobytes()]


def show(socket: zmq.Socket[bytes], keys: CurveKeys) -> None:
    """Give a socket its keys, before it connects."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)


def exchange(sender: zmq.Socket[bytes], message: list[bytes]) -> dict[str, Any]:
    """Send a native message and take its reply."""
    sender.send_multipart(message)
    return dict(json.loads(sender.recv_multipart()[-1]))


@contextmanager
def a_dealer(daemon: RunningDaemon) -> Iterator[zmq.Socket[bytes]]:
    """A connected DEALER: sends what it likes, waits at most a minute for a reply."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.RCVTIMEO, 60_000)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.connect(daemon.ingest)
        yield socket
