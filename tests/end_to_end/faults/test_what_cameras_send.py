"""Faults 1-4, 10, 18 and 20: what comes in over the wire, from broken, careless and hostile senders."""

from __future__ import annotations

import json
import socket
import struct
import zlib
from contextlib import ExitStack

import psutil
import pytest
import simplejpeg
import zmq

from tests.end_to_end.faults.oracle import rows, watched
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load, a_dealer, native_message

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

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


def test_fault_01_malformed_messages_are_refused_and_the_others_are_served(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, Load(daemon, ["other"]) as load, a_dealer(daemon) as sender:
        refused = daemon.total("frames_refused_total")
        for message in MALFORMED:
            sender.send_multipart(message)
            answer = sender.recv_multipart()[-1]
            assert answer.startswith(b"ERR ") or json.loads(answer)["status"] == "error", (message[:3], answer)
        load.reaches(5)
        verdicts = witness.hears(load.finish())
        assert {verdict["reason"] for verdict in verdicts} == {None}
        assert daemon.total("frames_refused_total") == refused + len(MALFORMED)


def test_fault_02_corrupt_jpegs_are_uninspected(daemon: RunningDaemon) -> None:
    whole = simplejpeg.encode_jpeg(picture(7), quality=95, colorspace="BGR")
    middle = len(whole) // 2
    damaged = [
        whole[:middle],
        whole[:middle] + b"\xff\xd9",
        whole[:middle] + bytes(200) + whole[middle + 200 :],
        whole[:-2],
    ]
    with watched(daemon) as witness, Camera(daemon) as camera:
        for data in damaged:
            verdict = json.loads(camera.send_bytes(data))
            witness.knows_spoiled(verdict)
            assert (verdict["decision"], verdict["reason"]) == ("uninspected", "decode")
        assert witness.heard(camera.send(picture(8)))["decision"] != "uninspected"


def test_fault_03_bombs_are_refused_from_their_headers(daemon: RunningDaemon) -> None:
    worker = psutil.Process(daemon.wait_for_worker())
    with watched(daemon), Camera(daemon) as camera:
        before = worker.memory_info().rss
        for data in (png_bomb(side=30_000), jpeg_that_claims(side=40_000)):
            assert camera.send_bytes(data).startswith(b"ERR ")
        assert worker.memory_info().rss < before + 20 * 1024 * 1024


def test_fault_04_a_message_above_the_limit_is_refused_politely(daemon: RunningDaemon) -> None:
    too_much = bytes(65 * 1024 * 1024)
    header = {"msg": "top", "dtype": "uint8", "shape": [len(too_much) // 16384 // 4, 16384, 4]}
    with watched(daemon), a_dealer(daemon) as sender:
        sender.send_multipart([b"", json.dumps(header).encode(), too_much], copy=False)
        assert sender.recv_multipart()[-1].startswith(b"ERR ")
        del too_much


def test_fault_10_native_frames_replayed_twice_are_one_row_each(daemon: RunningDaemon) -> None:
    shots = [native_message(seq, picture(seq), boot="replay") for seq in range(60)]
    with watched(daemon) as witness, a_dealer(daemon) as sender:
        replies = [exchange_all(sender, shots) for _ in range(3)]
        assert replies[0] == replies[1] == replies[2]
        for reply in replies[0].values():
            witness.heard(reply)
    assert len(rows(daemon, "key LIKE 'side:replay:%'")) == len(shots)


def test_fault_18_connections_that_never_finish_their_handshake_delay_nobody(daemon: RunningDaemon) -> None:
    host, port = "127.0.0.1", daemon.ports[0]
    with watched(daemon) as witness, ExitStack() as slow, Load(daemon, ["other"]) as load:
        for length in range(30):
            peer = slow.enter_context(socket.create_connection((host, port)))
            peer.sendall((b"\xff" + bytes(8) + b"\x7f\x03\x00NULL")[: length % 12])
        load.reaches(20)
        assert {verdict["reason"] for verdict in witness.hears(load.finish())} == {None}


@pytest.mark.parametrize(
    "name", ["../../../../etc/cron.d/x", "..", "top/../../x", "/etc/passwd", "top\x00x", "ｔop"]
)
def test_fault_20_a_path_in_the_senders_name_is_nobodys_name(daemon: RunningDaemon, name: str) -> None:
    with watched(daemon), Camera(daemon, name) as stranger:
        assert stranger.send_text(picture(1)).startswith(b"ERR ")


def test_fault_20_a_path_in_the_parts_name_stays_text(daemon: RunningDaemon) -> None:
    bad = 255 - picture(5, scratched=True)
    with watched(daemon) as witness, Camera(daemon) as camera:
        verdict = witness.heard(camera.send(bad, part="../../../etc/passwd"))
    heatmap = (daemon.state / verdict["heatmap"]).resolve()
    assert heatmap.is_relative_to((daemon.state / "heatmaps" / "4").resolve())
    assert rows(daemon, f"key = '{verdict['key']}'")[0]["part"] == "../../../etc/passwd"


def exchange_all(sender: zmq.Socket[bytes], shots: list[list[bytes]]) -> dict[int, dict[str, object]]:
    """Send every message in a window of eight; the verdicts by sequence number."""
    replies: dict[int, dict[str, object]] = {}
    for sent, shot in enumerate(shots):
        sender.send_multipart(shot)
        if sent - len(replies) >= 8:
            take(sender, replies)
    until(lambda: take(sender, replies) or len(replies) == len(shots), "every reply", within_s=60)
    return replies


def take(sender: zmq.Socket[bytes], replies: dict[int, dict[str, object]]) -> None:
    """One reply into the collection."""
    reply = json.loads(sender.recv_multipart()[-1])
    assert reply["status"] == "verdict", reply
    replies[reply["seq"]] = {name: value for name, value in reply.items() if name not in ("v", "status")}


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
