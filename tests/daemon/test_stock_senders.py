"""Stock imagezmq senders, unchanged, against the ingress loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import imagezmq
import numpy as np
import pytest
import simplejpeg
import zmq

from core.image import image_from_raw
from daemon.clock import SystemClock
from daemon.link import FrameHeader, ScoredFrame
from tests.daemon.ingress_rig import PATIENCE_S, Rig, accept, reject

PICTURE = np.random.default_rng(7).integers(0, 256, (40, 60, 3), dtype=np.uint8)


class BrightnessRig(Rig):
    """Answers every frame as it is sent: dark pictures are rejected."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, clock=SystemClock())  # type: ignore[arg-type]
        self.worker.send = self.score  # type: ignore[method-assign]
        self.pixels: list[np.ndarray] = []

    def score(self, header: FrameHeader, payload: memoryview) -> bool:
        if header.encoding == "raw":
            picture = image_from_raw(payload, dtype=header.dtype, shape=header.shape, color=header.color)
        else:
            picture = simplejpeg.decode_jpeg(bytes(payload), colorspace="RGB")
        self.pixels.append(picture)
        answer: ScoredFrame = accept(header.key) if picture.mean() > 64 else reject(header.key)
        self.worker.say(answer)
        return True

    def serve(self, *talks: Callable[[imagezmq.ImageSender], None]) -> None:
        """Turn until each talk, with a sender and a thread of its own, is over."""
        endpoint = self.camera_socket.endpoint
        with ThreadPoolExecutor(len(talks)) as threads:
            futures = [threads.submit(_talk, talk, endpoint) for talk in talks]
            self.until(lambda: all(future.done() for future in futures), "the end of every talk")
        for future in futures:
            future.result()


def _talk(talk: Callable[[imagezmq.ImageSender], None], endpoint: str) -> None:
    sender = imagezmq.ImageSender(connect_to=endpoint)
    sender.zmq_socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
    try:
        talk(sender)
    finally:
        sender.zmq_socket.close(0)
        sender.zmq_context.term()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BrightnessRig]:
    life = BrightnessRig(tmp_path)
    yield life
    assert life.tally.conserved
    life.close()


def test_a_raw_picture_comes_back_as_a_verdict(rig: BrightnessRig) -> None:
    def talk(sender: imagezmq.ImageSender) -> None:
        reply = json.loads(sender.send_image("camera=cam1;part=A7", PICTURE))
        assert (reply["decision"], reply["part"], reply["line"]) == ("accept", "A7", 4)

    rig.serve(talk)
    np.testing.assert_array_equal(rig.pixels[0], PICTURE[:, :, ::-1])


def test_a_jpeg_comes_back_as_a_verdict(rig: BrightnessRig) -> None:
    def talk(sender: imagezmq.ImageSender) -> None:
        reply = json.loads(sender.send_jpg("cam2", simplejpeg.encode_jpeg(PICTURE // 8)))
        assert (reply["decision"], reply["line"]) == ("reject", 5)

    rig.serve(talk)


def test_a_refused_picture_leaves_the_sender_able_to_send_the_next(rig: BrightnessRig) -> None:
    def talk(sender: imagezmq.ImageSender) -> None:
        assert sender.send_image("stranger", PICTURE).startswith(b"ERR unknown camera 'stranger'")
        assert sender.send_image("cam1", PICTURE.astype(np.float32)).startswith(b"ERR expected dtype")
        assert sender.send_jpg("cam1", b"no picture").startswith(b"ERR expected a JPEG or PNG")
        assert sender.send_image("quiet", PICTURE).startswith(b"QUEUED ")
        assert json.loads(sender.send_image("cam1", PICTURE))["decision"] == "accept"

    rig.serve(talk)


def test_many_senders_at_once_are_each_answered_in_turn(rig: BrightnessRig) -> None:
    replies: list[tuple[str, int]] = []

    def talk(sender: imagezmq.ImageSender, name: str) -> None:
        for seq in range(20):
            reply = json.loads(sender.send_image(f"camera=cam1;part={name};seq={seq}", PICTURE))
            replies.append((reply["part"], reply["seq"]))

    rig.serve(*(partial(talk, name=name) for name in "abcd"))
    assert sorted(replies) == [(name, seq) for name in "abcd" for seq in range(20)]
