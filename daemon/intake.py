"""Frames come in: the socket from ingress, decoding on a small pool, the batch queue's producer end.

Decoding begins at arrival, so that the scorer takes ready pictures at the last moment; it releases the
GIL. A frame whose time is over is answered without being decoded. What cannot be decoded spoils only itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import zmq

from core.errors import ImageError
from core.image import decode_image, image_from_raw
from daemon.answers import uninspected
from daemon.batch_queue import BatchQueue
from daemon.clock import Clock
from daemon.flow import Encoding, UninspectedReason
from daemon.link import FrameHeader, LinkError, WorkerOrders, unpack_frame_header, unpack_orders
from daemon.work import Answer, Image, QueuedFrame

log = logging.getLogger(__name__)

POLL_MS = 50
MAX_DECODED_BYTES = 512 * 1024 * 1024
"""Decoded pictures that may wait. Beyond it frames stay encoded, in the socket: a JPEG grows tenfold."""


class Intake(threading.Thread):
    """Owns the frames socket.

    answer: takes what needs no scorer, undecodable and late frames. follow: takes new orders, before the frames
    that come after them. ended: set to take what is there and end.
    """

    def __init__(
        self,
        queue: BatchQueue,
        *,
        answer: Callable[[Answer], None],
        follow: Callable[[WorkerOrders], None],
        ended: threading.Event,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        decode_threads: int,
        max_pixels: int,
        clock: Clock,
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self._queue = queue
        self._answer = answer
        self._follow = follow
        self._context = context
        self._endpoint = endpoint
        self._pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._max_pixels = max_pixels
        self._clock = clock
        self._ended = ended

    def run(self) -> None:
        """Take frames until told to end; then take what has arrived already, and close the queue."""
        with self._context.socket(zmq.PULL) as socket:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, 0)
            socket.connect(self._endpoint)
            while not self._ended.is_set():
                if self._queue.weight >= MAX_DECODED_BYTES:
                    self._ended.wait(POLL_MS / 1000)
                elif socket.poll(POLL_MS):
                    self._take_all(socket)
            self._take_all(socket)
        self._pool.shutdown(wait=True)
        self._queue.close()

    def _take_all(self, socket: zmq.Socket[bytes]) -> None:
        while self._queue.weight < MAX_DECODED_BYTES:
            try:
                parts = socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return
            self._accept([part.buffer for part in parts])

    def _accept(self, parts: list[memoryview]) -> None:
        try:
            if len(parts) == 1:
                self._follow(unpack_orders(bytes(parts[0])))
                return
            if len(parts) != 2:
                raise LinkError(f"expected orders, or a header and a payload; got {len(parts)} parts")
            header = unpack_frame_header(bytes(parts[0]))
        except LinkError as error:
            log.error("unreadable message from ingress: %s", error)
            return
        self._queue.expect()
        self._pool.submit(self._decode, header, parts[1])

    def _decode(self, header: FrameHeader, payload: memoryview) -> None:
        """Runs on the pool: the frame ends in the queue or is answered here, whatever happens."""
        frame: QueuedFrame | None = None
        try:
            frame = self._ready(header, payload)
        except ImageError as error:
            self._answer(uninspected(header, UninspectedReason.DECODE, str(error)))
        except Exception as error:  # decoders are C libraries fed by a network: none may lose a frame
            log.exception("decoding frame %s raised", header.key)
            self._answer(uninspected(header, UninspectedReason.DECODE, f"{type(error).__name__}: {error}"))
        finally:
            self._queue.arrive(frame)

    def _ready(self, header: FrameHeader, payload: memoryview) -> QueuedFrame | None:
        start_ns = self._clock.monotonic_ns()
        if start_ns >= header.deadline_ns:
            self._answer(uninspected(header, UninspectedReason.DEADLINE, "its time was over before decoding"))
            return None
        image = decode_frame(header, payload, max_pixels=self._max_pixels)
        now_ns = self._clock.monotonic_ns()
        return QueuedFrame(
            header=header,
            image=image,
            payload=payload,
            queued_ns=now_ns,
            decode_s=(now_ns - start_ns) / 1e9,
        )


def decode_frame(header: FrameHeader, payload: memoryview, *, max_pixels: int) -> Image:
    """The frame's picture, (H, W, 3) uint8 RGB. Raises ImageError."""
    if header.encoding == Encoding.RAW:
        return image_from_raw(payload, dtype=header.dtype, shape=header.shape, color=header.color)
    return decode_image(payload, max_pixels=max_pixels)
