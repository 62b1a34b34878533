"""The faults that leave the worker alive: each function does the harm once and returns what it was answered.

The tests of this folder check the answers; `lasting.py` does it again and again. Each opens its own connections.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import simplejpeg
import zmq

from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, a_dealer, native_message

RAW = {"msg": "top", "dtype": "uint8", "shape": [16, 16, 3]}
PIXELS = bytes(768)
MALFORMED: list[list[bytes]] = [
    [b"no delimiter", PIXELS],
    [b"one part"],
    [b"", *[b"x"] * 500],
    [b"", b"{not json", PIXELS],
    [b"", b"\xff\xfe", PIXELS],
    [b"", json.dumps({**RAW, "dtype": "object"}).encode(), PIXELS],
    [b"", json.dumps({**RAW, "shape": [16, 16, -3]}).encode(), PIXELS],
    [b"", json.dumps({**RAW, "shape": [99, 99, 3]}).encode(), PIXELS],
    [b"", b"[" * 1000, PIXELS],
    [b"", b"APG1", b"{}", PIXELS],
]
TOO_MUCH = 65 * 1024 * 1024
FLOOD = 400
REPLAYED = 60
SLOW_PEERS = 30
SPOILT = {
    "invalid": ("[[lines]\n", "is not valid TOML"),
    "needs_restart": ('[publish]\nbind = "tcp://127.0.0.1:1"\n[log]\nlevel = "DEBUG"', "publish.bind"),
}
"""What is wrong with the settings: a text of them, and what the daemon says of it."""


def malformed(daemon: RunningDaemon) -> list[bytes]:
    """Fault 1: the answer to each of MALFORMED."""
    with a_dealer(daemon) as sender:
        return [ask(sender, message) for message in MALFORMED]


def corrupt_jpegs(daemon: RunningDaemon) -> list[dict[str, object]]:
    """Fault 2: the verdicts of JPEGs that are cut off, patched up or zeroed in their middle."""
    whole = simplejpeg.encode_jpeg(picture(7), quality=95, colorspace="BGR")
    middle = len(whole) // 2
    damaged = [
        whole[:middle],
        whole[:middle] + b"\xff\xd9",
        whole[:middle] + bytes(200) + whole[middle + 200 :],
        whole[:-2],
    ]
    with Camera(daemon) as camera:
        return [json.loads(camera.send_bytes(data)) for data in damaged]


def bombs(daemon: RunningDaemon) -> list[bytes]:
    """Fault 3: small files of very large pictures."""
    with Camera(daemon) as camera:
        return [camera.send_bytes(data) for data in (png_bomb(side=30_000), jpeg_that_claims(side=40_000))]


def oversize(daemon: RunningDaemon) -> bytes:
    """Fault 4: a message above the polite limit."""
    header = {"msg": "top", "dtype": "uint8", "shape": [TOO_MUCH // 16384 // 4, 16384, 4]}
    with a_dealer(daemon) as sender:
        return ask(sender, [b"", json.dumps(header).encode(), bytes(TOO_MUCH)])


def replays(daemon: RunningDaemon, boot: str) -> list[dict[int, dict[str, object]]]:
    """Fault 10: native frames, sent three times; each time the verdicts by sequence number."""
    shots = [native_message(seq, picture(seq), boot=boot) for seq in range(REPLAYED)]
    with a_dealer(daemon) as sender:
        return [_exchange_all(sender, shots) for _ in range(3)]


@contextmanager
def redis_stopped(daemon: RunningDaemon) -> Iterator[None]:
    """Fault 12: the embedded server stands still, and dies at the end; then a new one answers."""
    server = until(daemon.redis_server, "the embedded server")
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):  # who watches it may have been first
            server.send_signal(signal.SIGKILL)
    until(lambda: daemon.redis_server(but=server), "a new server")
    until(lambda: daemon.total("redis_up") == 1, "Redis to answer")


def flood(daemon: RunningDaemon, boot: str, *, pause_s: float = 0.0) -> list[dict[str, object]]:
    """Fault 13: more frames of one camera than can be scored; without pauses, than there is room for."""
    pictures = [picture(seed) for seed in range(16)]
    shots = [native_message(seq, pictures[seq % 16], boot=boot) for seq in range(FLOOD)]
    with a_dealer(daemon) as greedy:
        for shot in shots:
            greedy.send_multipart(shot)
            time.sleep(pause_s)
        return [json.loads(greedy.recv_multipart()[-1]) for _ in shots]


def reload_spoilt(daemon: RunningDaemon, spoilt: str) -> dict[str, str]:
    """Fault 15: what the daemon makes of settings with this text in them; the file is as before afterwards."""
    good = daemon.config.read_text()
    without = good.replace(f'[publish]\nbind = "{daemon.publish}"', "").replace('[log]\nformat = "text"', "")
    daemon.config.write_text(without + "\n" + spoilt)
    try:
        return daemon.reload()
    finally:
        daemon.config.write_text(good)


@contextmanager
def slow_handshakes(daemon: RunningDaemon) -> Iterator[None]:
    """Fault 18: connections that begin a handshake, each cut off elsewhere, and never go on."""
    accepted = daemon.total("camera_connections_total", event="accepted")
    with ExitStack() as slow:
        for length in range(SLOW_PEERS):
            peer = slow.enter_context(socket.create_connection(("127.0.0.1", daemon.ports[0])))
            peer.sendall((b"\xff" + bytes(8) + b"\x7f\x03\x00NULL")[: length % 12])
        until(
            lambda: daemon.total("camera_connections_total", event="accepted") >= accepted + SLOW_PEERS,
            "the slow ones to be connected",
        )
        yield


def png_bomb(*, side: int) -> bytes:
    """A small PNG of a very large grey picture; its data is real as far as it goes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(bytes(10 * (side + 1)))), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def jpeg_that_claims(*, side: int) -> bytes:
    """A JPEG whose frame header names a size that its data has not."""
    data = bytearray(simplejpeg.encode_jpeg(picture(1)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def ask(sender: zmq.Socket[bytes], message: list[bytes]) -> bytes:
    """Send one message and take the reply to it."""
    sender.send_multipart(message, copy=False)
    return sender.recv_multipart()[-1]


def _exchange_all(sender: zmq.Socket[bytes], shots: list[list[bytes]]) -> dict[int, dict[str, object]]:
    """Send every message in a window of eight; the verdicts by sequence number."""
    replies: dict[int, dict[str, object]] = {}
    for sent, shot in enumerate(shots):
        sender.send_multipart(shot)
        if sent - len(replies) >= 8:
            _take(sender, replies)
    until(lambda: _take(sender, replies) or len(replies) == len(shots), "every reply")
    return replies


def _take(sender: zmq.Socket[bytes], replies: dict[int, dict[str, object]]) -> None:
    reply = json.loads(sender.recv_multipart()[-1])
    assert reply["status"] == "verdict", reply
    replies[reply["seq"]] = {name: value for name, value in reply.items() if name not in ("v", "status")}
