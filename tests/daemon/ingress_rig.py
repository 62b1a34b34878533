"""An Ingress over real sockets and a real outbox, with a clock that tests move and a worker that they script."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zmq

from daemon.admission import IngressOptions
from daemon.camera_socket import CameraSocket
from daemon.cameras import Camera, CameraDirectory
from daemon.curve import Guard
from daemon.door import door_of
from daemon.flow import RawFrame, Refusal, Verdict
from daemon.ingress import Ingress
from daemon.link import FrameHeader, ScoredBatch, ScoredFrame, WorkerStatus, pack_upward, unpack_upward
from daemon.observer import Observer
from daemon.outbox import Outbox
from daemon.publisher import VerdictPublisher
from daemon.verdicts import Provenance

PATIENCE_S = 60.0
CAMERAS = (
    Camera(name="cam1", line=4, color="bgr", deadline_ms=500, reply="verdict"),
    Camera(name="cam2", line=5, color="bgr", deadline_ms=800, reply="verdict"),
    Camera(name="quiet", line=6, color="bgr", deadline_ms=500, reply="queued"),
    Camera(name="grey", line=5, color="gray", deadline_ms=500, reply="verdict"),
)
PIXELS = bytes(range(256)) * 3
"""A raw 16x16 BGR picture."""


class FakeClock:
    """Both clocks stand still until `advance`."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000
        self.start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic_ns(self) -> int:
        return self.ns

    def now(self) -> datetime:
        return self.start + timedelta(microseconds=(self.ns - 1_000_000_000) / 1000)

    def advance(self, ms: float) -> None:
        self.ns += int(ms * 1e6)


class Tally(Observer):
    """Counts what the law of conservation counts."""

    def __init__(self) -> None:
        self.received = self.duplicates = self.recovered_rows = self.conflicts = self.missing = 0
        self.refusals: list[Refusal] = []
        self.verdicts: list[Verdict] = []
        self.slacks: list[float] = []
        self.held: dict[int, int] = {}
        self.events: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def frame_received(self, frame: RawFrame) -> None:
        self.received += 1

    def message_unreadable(self) -> None:
        self.received += 1

    def frame_refused(self, refusal: Refusal, *, line: int | None) -> None:
        self.refusals.append(refusal)

    def duplicate(self, frame: RawFrame) -> None:
        self.duplicates += 1

    def frame_gap(self, camera: str, line: int, missing: int) -> None:
        self.missing += missing

    def recovered(self, count: int) -> None:
        self.recovered_rows += count

    def verdict(self, verdict: Verdict, *, slack_s: float) -> None:
        self.verdicts.append(verdict)
        self.slacks.append(slack_s)

    def verdict_conflict(self, line: int) -> None:
        self.conflicts += 1

    def in_flight(self, count_by_line: dict[int, int]) -> None:
        self.held = count_by_line

    def connection(self, event: str) -> None:
        self.events[event] += 1

    def dependency_error(self, name: str) -> None:
        self.errors[name] += 1

    @property
    def conserved(self) -> bool:
        """service.md, rule 2."""
        came = self.received + self.recovered_rows
        went = len(self.verdicts) + len(self.refusals) + self.duplicates + sum(self.held.values())
        return came == went


class ScriptedWorker:
    """A WorkerPort whose worker is the test: it sees what was sent and answers through a real socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        endpoint = f"inproc://upward-{id(self)}"
        self._upward = context.socket(zmq.PULL)
        self._upward.bind(endpoint)
        self._mouth = context.socket(zmq.PUSH)
        self._mouth.connect(endpoint)
        self.ready = True
        self.sent: dict[str, tuple[FrameHeader, bytes]] = {}
        self.lost: list[str] = []

    @property
    def poll_socket(self) -> zmq.Socket[bytes]:
        return self._upward

    def send(self, header: FrameHeader, payload: memoryview) -> bool:
        self.sent[header.key] = (header, bytes(payload))
        return True

    def receive(self) -> list[ScoredBatch | WorkerStatus]:
        messages = []
        while self._upward.poll(0):
            messages.append(unpack_upward(self._upward.recv()))
        return messages

    def check(self) -> list[str]:
        lost, self.lost = self.lost, []
        return lost

    def say(self, *answers: ScoredFrame) -> None:
        self._mouth.send(pack_upward(ScoredBatch(worker=0, life=1, frames=answers, report=None)))

    def close(self) -> None:
        self._mouth.close(0)
        self._upward.close(0)


class Recorded:
    """A recorder that has written what the test says."""

    def __init__(self) -> None:
        self.recorded_up_to = 0
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


def accept(key: str, *, score: float = 0.2) -> ScoredFrame:
    """A good part's answer."""
    return ScoredFrame(
        key=key, decision="accept", reason=None, score=score, threshold=1.0, threshold_state="provisional"
    )


def reject(key: str, *, heatmap: str | None = None) -> ScoredFrame:
    """A bad part's answer."""
    return replace(accept(key, score=3.0), decision="reject", heatmap=heatmap)


class Rig:
    """One life of an ingress over the outbox in `folder`; `close`, then another Rig is the next life.

    guard: with one the sockets ask for keys; the ZAP handler is for the test to start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: FakeClock | None = None,
        guard: Guard | None = None,
        bind: str = "tcp://127.0.0.1:*",
        **options: Any,
    ) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clock = clock or FakeClock()
        self.tally = Tally()
        self.worker = ScriptedWorker(self.context)
        self.outbox = Outbox(folder / "outbox.db")
        self.recorded = Recorded()
        self.camera_socket = CameraSocket(self.context, bind, observer=self.tally, guard=guard)
        self.publisher = VerdictPublisher(self.context, "tcp://127.0.0.1:*", guard=guard)
        self.peers: list[zmq.Socket[bytes]] = []
        directory = CameraDirectory(CAMERAS)
        self.options = IngressOptions(
            state_dir=folder,
            provenance=Provenance(software_version="0", host="test"),
            **{"window": 1000, **options},
        )
        self.ingress = Ingress(
            cameras=directory,
            options=self.options,
            outbox=self.outbox,
            recording=self.recorded,
            workers=self.worker,
            camera_socket=self.camera_socket,
            publisher=self.publisher,
            observer=self.tally,
            clock=self.clock,
            door=door_of(directory, guard),
        )

    def peer(self, kind: int = zmq.DEALER) -> zmq.Socket[bytes]:
        """A connected camera."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.camera_socket.endpoint)
        self.peers.append(socket)
        return socket

    def until(self, condition: Callable[[], object], what: str = "condition") -> None:
        """Turn until the condition holds."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > give_up:
                raise AssertionError(f"{what} did not come within {PATIENCE_S} s")
            self.ingress.turn(10)

    def take_in(self, peer: zmq.Socket[bytes], parts: list[bytes]) -> None:
        """Send a message and turn until it was counted."""
        before = self.tally.received
        peer.send_multipart(parts)
        self.until(lambda: self.tally.received > before, "receipt")

    def reply(self, peer: zmq.Socket[bytes]) -> bytes:
        """Turn until the peer has a reply; its body."""
        self.until(lambda: peer.poll(0), "reply")
        return peer.recv_multipart()[-1]

    def json_reply(self, peer: zmq.Socket[bytes]) -> dict[str, Any]:
        """Turn until the peer has a reply; its body as JSON."""
        reply: dict[str, Any] = json.loads(self.reply(peer))
        return reply

    def close(self) -> None:
        """End this life without a drain, as a kill would; the outbox file stays."""
        for peer in self.peers:
            peer.close(0)
        self.worker.close()
        self.camera_socket.close()
        self.publisher.close()
        self.outbox.close()
        self.context.term()


def native(*, payload: bytes = PIXELS, delimiter: bool = True, **fields: Any) -> list[bytes]:
    """A native v1 message of a raw 16x16 frame of cam1; `fields` change the header, None takes one away."""
    header = {
        "v": 1,
        "camera": "cam1",
        "seq": 1,
        "boot": "b1",
        "enc": "raw",
        "dtype": "uint8",
        "shape": [16, 16, 3],
    } | fields
    body = json.dumps({name: value for name, value in header.items() if value is not None}).encode()
    return [*([b""] if delimiter else []), b"APG1", body, payload]


def stock(msg: object, payload: bytes = PIXELS, **fields: Any) -> list[bytes]:
    """A raw imagezmq message as a REQ socket puts it on the wire."""
    header = {"msg": msg, "dtype": "uint8", "shape": [16, 16, 3]} | fields
    return [b"", json.dumps(header).encode(), payload]
