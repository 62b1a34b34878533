"""A camera's end of the native protocol: a window of unanswered frames, and replays until each is answered.

How many frames may be unanswered is the service's to say: every reply names its window.

A replay has the same key and bytes, so that sending twice never inspects twice. For trials, demos and
tests, and to copy from: it needs pyzmq and nothing else of the service.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import zmq
from zmq.auth import load_certificate

MAGIC = b"APG1"
FIRST_WINDOW = 2
"""Unanswered frames until the service has said how many it lets in."""
RESTARTED = b"RESTARTED"
"""What a service says that has started anew: it knows nothing of what was sent to the one before."""
RESEND_AFTER_S = 5.0
"""How long to wait for a reply before the frame is sent again. Longer than any line's usual deadline."""


class WindowFull(Exception):
    """As many frames as the window holds are unanswered: receive a reply first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One picture to send. enc: "raw" (payload C-contiguous `shape` of `dtype`), "jpeg" or "png" (a file)."""

    payload: bytes
    enc: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    color: str | None = None
    part: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveKeys:
    """What a sender needs where the service asks for keys (Z85): the server's public one and its own pair."""

    server: bytes
    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, server_key: Path, key_file: Path) -> CurveKeys:
        """From `server.key` and `NAME.key_secret`. Raises OSError or ValueError, naming the file."""
        server, _ = _certificate(server_key)
        public, secret = _certificate(key_file)
        if secret is None:
            raise ValueError(f"expected a file with a secret key, {key_file} has the public one alone")
        return cls(server=server, public=public, secret=secret)


@dataclass(slots=True, kw_only=True, eq=False)
class _Unanswered:
    parts: tuple[bytes, ...]
    send_again_at: float


class NativeSender:
    """One camera's connection. `boot` is a fresh id a sender start, so that its frames have keys of their own.

    window: how many frames may be unanswered, if the service lets in as many; None: as many as it lets in.
    curve: None where the service asks for no keys. One that does answers nobody else: replies stay out.
    """

    def __init__(
        self,
        connect: str,
        camera: str,
        *,
        window: int | None = None,
        curve: CurveKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.camera = camera
        self.boot = secrets.token_hex(8)
        self._wanted = window
        self._granted = FIRST_WINDOW
        self._seq = 0
        self._unanswered: dict[int, _Unanswered] = {}
        self._socket = (context or zmq.Context.instance()).socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 2 * (window or 32))
        if curve is not None:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret)
        self._socket.connect(connect)

    @property
    def unanswered(self) -> int:
        """How many frames wait for their reply."""
        return len(self._unanswered)

    @property
    def window(self) -> int:
        """How many frames may be unanswered now."""
        return self._granted if self._wanted is None else min(self._wanted, self._granted)

    @property
    def has_room(self) -> bool:
        """Whether the window lets one more frame go."""
        return len(self._unanswered) < self.window

    def send(self, shot: Shot) -> int:
        """Send one frame; its sequence number. Raises WindowFull."""
        if not self.has_room:
            raise WindowFull(f"{len(self._unanswered)} frames are unanswered, the window is {self.window}")
        self._seq += 1
        header = self._header(self._seq, shot)
        parts = (b"", MAGIC, json.dumps(header).encode(), shot.payload)
        self._unanswered[self._seq] = _Unanswered(parts=parts, send_again_at=0.0)
        self._transmit(self._seq)
        return self._seq

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next final reply (verdict, queued or error), or None after `timeout_s`.

        Frames answered "busy", and those that were not answered, are sent again meanwhile.
        """
        give_up = time.monotonic() + timeout_s
        while True:
            self._send_again()
            remaining_s = max(0.0, min(give_up, self._next_resend()) - time.monotonic())
            if self._socket.poll(int(remaining_s * 1000) + 1):
                reply = self._read()
                if reply is not None and self._is_final(reply):
                    return reply
            elif time.monotonic() >= give_up:
                return None

    def close(self) -> None:
        """Close the connection; what is unanswered stays so."""
        self._socket.close(0)

    def _header(self, seq: int, shot: Shot) -> dict[str, Any]:
        header = {
            "v": 1,
            "camera": self.camera,
            "boot": self.boot,
            "seq": seq,
            "ts_ns": time.time_ns(),
            "part": shot.part,
            "enc": shot.enc,
            "dtype": shot.dtype,
            "shape": shot.shape,
            "color": shot.color,
            "crc32c": google_crc32c.value(shot.payload),
        }
        return {name: value for name, value in header.items() if value is not None}

    def _read(self) -> dict[str, Any] | None:
        """The reply that has come; None for news of a restart."""
        body = self._socket.recv_multipart()[-1]
        if body == RESTARTED:
            for waiting in self._unanswered.values():
                waiting.send_again_at = 0.0
            return None
        reply = dict(json.loads(body))
        self._granted = reply.get("window") or self._granted
        return reply

    def _is_final(self, reply: Mapping[str, Any]) -> bool:
        """Strike the frame off, or note when to send it again. Replies to replays come twice: ignored."""
        waiting = self._unanswered.get(reply.get("seq", -1))
        if waiting is None:
            return reply.get("seq") is None  # an error about a message that had no readable number
        if reply["status"] == "busy":
            waiting.send_again_at = time.monotonic() + reply["retry_after_ms"] / 1000
            return False
        del self._unanswered[reply["seq"]]
        return True

    def _transmit(self, seq: int) -> None:
        waiting = self._unanswered[seq]
        waiting.send_again_at = time.monotonic() + RESEND_AFTER_S
        # Again: nobody is connected and the queue is full of the same frames; the next try will do
        with suppress(zmq.Again):
            self._socket.send_multipart(waiting.parts, zmq.NOBLOCK)

    def _send_again(self) -> None:
        now = time.monotonic()
        for seq, waiting in list(self._unanswered.items()):
            if waiting.send_again_at <= now:
                self._transmit(seq)

    def _next_resend(self) -> float:
        return min((waiting.send_again_at for waiting in self._unanswered.values()), default=float("inf"))


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    """The public and the secret key of a ZeroMQ certificate; it may lack the secret one."""
    try:
        public, secret = load_certificate(path)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} is no ZeroMQ certificate") from error
    if any(key is not None and len(key) != 40 for key in (public, secret)):
        raise ValueError(f"{path}: expected keys of 40 Z85 characters")
    return public, secret
