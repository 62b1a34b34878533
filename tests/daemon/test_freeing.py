"""Senders that wait for a killed life are freed by the next one, and nobody hears an answer to another's frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import zmq

from daemon.freeing import LOOK_FOR_NS, RESTARTED
from tests.daemon.ingress_rig import FakeClock, Rig, accept, native, stock
from tests.daemon.patience import until


class Plant:
    """Cameras with a context of their own, and the lives of a hub that they outlive."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._running = running
        self.clock = FakeClock()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        running.callback(self.context.term)
        self.rig = Rig(folder, clock=self.clock)
        self.endpoint = self.rig.camera_socket.endpoint

    def camera(self, kind: int = zmq.REQ) -> zmq.Socket[bytes]:
        camera = self._running.enter_context(closing(self.context.socket(kind)))
        camera.setsockopt(zmq.LINGER, 0)
        camera.connect(self.endpoint)
        return camera

    def is_killed_and_starts_again(self) -> None:
        self.rig.close()
        until(self._binds)
        self.rig.ingress.recover()

    def _binds(self) -> bool:
        try:
            self.rig = Rig(self._folder, clock=self.clock, bind=self.endpoint)
        except zmq.ZMQError:
            return False
        return True

    def passes(self, condition: Callable[[], object], what: str) -> None:
        """Let 50 ms pass with every turn until the condition holds."""

        def look() -> object:
            self.clock.advance(50)
            return condition()

        self.rig.until(look, what)

    @property
    def told(self) -> int:
        return self.rig.tally.events["told_restart"]

    def verdict_of(self, camera: zmq.Socket[bytes], part: str) -> dict[str, object]:
        """Send a stock frame and take its reply, whatever it is about."""
        before = set(self.rig.worker.sent)
        camera.send_multipart(stock(f"camera=cam1;part={part}")[1:])
        self.rig.until(lambda: set(self.rig.worker.sent) - before, "the frame at the worker")
        (key,) = set(self.rig.worker.sent) - before
        self.rig.worker.say(accept(key))
        self.passes(lambda: camera.poll(0), "the reply")
        return dict(json.loads(camera.recv()))


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with ExitStack() as running:
        plant = Plant(tmp_path, running)
        yield plant
        assert plant.rig.tally.conserved
        plant.rig.close()


def test_waiting_senders_are_freed_and_all_hear_their_own_verdicts_from_then_on(plant: Plant) -> None:
    waiting, idle = [plant.camera() for _ in range(3)], plant.camera()
    assert plant.verdict_of(idle, "before")["part"] == "before"
    for camera in waiting:
        camera.send_multipart(stock("cam2")[1:])
    plant.rig.until(lambda: plant.rig.tally.received == 4, "the frames")
    plant.is_killed_and_starts_again()
    plant.passes(lambda: all(camera.poll(0) for camera in waiting), "freedom")
    assert [camera.recv() for camera in waiting] == [RESTARTED] * 3
    plant.passes(lambda: plant.told == 4, "the idle one to be told as well")
    for turn in range(2):
        for index, camera in enumerate([*waiting, idle]):
            part = f"{turn}-{index}"
            verdict = plant.verdict_of(camera, part)
            assert (verdict["part"], verdict["decision"]) == (part, "accept")
    assert plant.told == 4, "once each"


def test_who_sends_in_time_is_never_told_restarted(plant: Plant) -> None:
    camera = plant.camera()
    plant.verdict_of(camera, "first")
    plant.clock.advance(5000)
    plant.passes(lambda: plant.clock.monotonic_ns() > 20_000_000_000, "twenty seconds")
    assert plant.told == 0


def test_a_request_that_met_restarted_on_its_way_gets_no_second_answer(plant: Plant) -> None:
    camera = plant.camera(zmq.DEALER)  # a REQ would hide what comes too much
    plant.passes(lambda: plant.told, "RESTARTED")
    camera.send_multipart(stock("camera=cam1;part=crossed"))
    plant.rig.until(lambda: plant.rig.worker.sent, "the frame")
    plant.rig.worker.say(accept(next(iter(plant.rig.worker.sent))))
    plant.rig.until(lambda: plant.rig.tally.verdicts, "its verdict")
    assert camera.recv_multipart() == [b"", RESTARTED]
    camera.send_multipart(stock("camera=cam1;part=next"))  # the sender takes RESTARTED for its answer
    plant.rig.until(lambda: len(plant.rig.worker.sent) == 2, "the next frame")
    plant.rig.worker.say(*(accept(key) for key in plant.rig.worker.sent))
    plant.rig.until(lambda: camera.poll(0), "a reply")
    assert json.loads(camera.recv_multipart()[1])["part"] == "next"
    plant.passes(lambda: plant.clock.monotonic_ns() > 10_000_000_000, "the end of the doubt")
    assert not camera.poll(100)


def test_a_frame_still_being_scored_when_the_next_comes_is_recorded_and_not_answered(plant: Plant) -> None:
    camera = plant.camera(zmq.DEALER)
    plant.passes(lambda: plant.told, "RESTARTED")
    for part in ("crossed", "next"):
        camera.send_multipart(stock(f"camera=cam1;part={part}"))
    plant.rig.until(lambda: len(plant.rig.worker.sent) == 2, "both frames")
    plant.rig.worker.say(*(accept(key) for key in plant.rig.worker.sent))
    plant.rig.until(lambda: len(plant.rig.tally.verdicts) == 2, "both verdicts")
    assert camera.recv_multipart() == [b"", RESTARTED]
    plant.rig.until(lambda: camera.poll(0), "a reply")
    assert json.loads(camera.recv_multipart()[1])["part"] == "next"
    assert not camera.poll(100)


def test_native_replies_bear_numbers_and_are_not_kept(plant: Plant) -> None:
    camera = plant.camera(zmq.DEALER)
    plant.passes(lambda: plant.told, "RESTARTED")
    for seq in (1, 2):
        camera.send_multipart(native(seq=seq))
    plant.rig.until(lambda: len(plant.rig.worker.sent) == 2, "both frames")
    plant.rig.worker.say(*(accept(key) for key in plant.rig.worker.sent))
    assert camera.recv_multipart() == [b"", RESTARTED]
    assert [plant.rig.json_reply(camera)["seq"] for _ in range(2)] == [1, 2]


def test_a_stop_answers_at_once_what_was_kept(plant: Plant) -> None:
    camera = plant.camera(zmq.DEALER)
    plant.passes(lambda: plant.told, "RESTARTED")
    camera.send_multipart(stock("stranger"))
    plant.rig.until(lambda: plant.rig.tally.refusals, "the refusal")
    assert camera.recv_multipart() == [b"", RESTARTED]
    assert not camera.poll(100)
    plant.rig.ingress.drain()
    assert camera.recv_multipart()[1].startswith(b"ERR unknown camera")


def test_it_ends_after_two_minutes(plant: Plant) -> None:
    plant.clock.advance(LOOK_FOR_NS / 1e6 + 1)
    plant.camera()
    plant.rig.until(lambda: plant.rig.camera_socket.connections == 1, "the connection")
    for _ in range(40):
        plant.clock.advance(200)
        plant.rig.ingress.turn(0)
    assert plant.told == 0
