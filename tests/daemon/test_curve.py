"""CURVE over real sockets: who comes in, what a key may say, and that every doubt keeps the door shut."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import imagezmq
import numpy as np
import pytest
import zmq
import zmq.auth

from daemon import camera_socket, curve, publisher
from daemon.authorized_keys import KeyRing, Role, authorize, change_authorized, revoke
from daemon.curve import Guard, ZapHandler
from daemon.flow import RefusalReason
from daemon.key_files import KeyPair, new_pair, write_pair
from daemon.native_sender import CurveKeys, NativeSender, Shot
from tests.daemon.ingress_rig import PIXELS, Rig, accept, native, stock
from tests.daemon.test_authorized_keys import entry

SHORT_MS = 300
"""A handshake's time in these tests: so long a refused client waits until it knocks again."""
SHOT = Shot(payload=PIXELS, enc="raw", dtype="uint8", shape=(16, 16, 3))


class Yard:
    """A secured ingress, its keys, and whoever knocks."""

    def __init__(
        self, folder: Path, *, has_room: Callable[[int], bool] = lambda let_in: True, handler: bool = True
    ) -> None:
        self.path = folder / "keys" / "authorized.json"
        self.server = new_pair()
        self.guard = Guard(self.server, KeyRing(self.path))
        self.rig = Rig(folder, guard=self.guard)
        self.zap = ZapHandler(self.rig.context, self.guard.ring, observer=self.rig.tally, has_room=has_room)
        if handler:
            self.zap.start()

    def authorize(self, name: str, role: Role = Role.CAMERA, pair: KeyPair | None = None) -> KeyPair:
        pair = pair or new_pair()
        one = entry(name, role=role, public_key=pair.public)
        change_authorized(self.path, partial(authorize, entry=one))
        return pair

    def revoke(self, name: str, role: Role = Role.CAMERA) -> None:
        change_authorized(self.path, lambda keys: revoke(keys, name, role))

    def peer(self, pair: KeyPair, kind: int = zmq.DEALER, *, server: KeyPair | None = None) -> zmq.Socket[bytes]:
        peer = self.rig.context.socket(kind)
        peer.setsockopt(zmq.LINGER, 0)
        peer.setsockopt_string(zmq.CURVE_SERVERKEY, (server or self.server).public)
        peer.setsockopt_string(zmq.CURVE_PUBLICKEY, pair.public)
        peer.setsockopt_string(zmq.CURVE_SECRETKEY, pair.secret)
        if kind == zmq.SUB:
            peer.subscribe(b"")
        peer.connect(self.rig.publisher.endpoint if kind == zmq.SUB else self.rig.camera_socket.endpoint)
        self.rig.peers.append(peer)
        return peer

    def answers_nothing_to(self, peer: zmq.Socket[bytes], parts: list[bytes]) -> bool:
        """Send, turn for longer than two handshakes, and see that nothing came of it."""
        before = self.rig.tally.received
        peer.send_multipart(parts)
        for _ in range(8):
            self.rig.ingress.turn(SHORT_MS // 4)
        return self.rig.tally.received == before and not peer.poll(0)

    def verdict(self, pair: KeyPair) -> None:
        """One frame of cam1, inspected and published."""
        peer = self.peer(pair)
        self.rig.take_in(peer, native(boot=None))
        self.rig.until(lambda: self.rig.worker.sent, "the frame at the worker")
        for key in list(self.rig.worker.sent):
            self.rig.worker.say(accept(key))
        self.rig.worker.sent.clear()
        assert self.rig.json_reply(peer)["decision"] == "accept"

    def close(self) -> None:
        self.zap.stop()
        self.rig.close()


@pytest.fixture(autouse=True)
def short_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(camera_socket._OPTIONS, zmq.HANDSHAKE_IVL, SHORT_MS)
    monkeypatch.setitem(publisher._OPTIONS, zmq.HANDSHAKE_IVL, SHORT_MS)
    for module in (curve, camera_socket):
        monkeypatch.setattr(module, "SETTLED_S", 2 * SHORT_MS / 1000)  # a busy machine closes late


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    assert yard.rig.tally.conserved
    yard.close()


def test_an_authorized_camera_is_inspected(yard: Yard) -> None:
    yard.verdict(yard.authorize("cam1"))


def test_a_stock_request_with_a_key_is_taken_in(yard: Yard) -> None:
    peer = yard.peer(yard.authorize("cam1"), zmq.REQ)
    yard.rig.take_in(peer, stock("cam1")[1:])
    assert not yard.rig.tally.refusals


def test_an_unknown_key_reaches_nobody(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    yard.authorize("cam1")
    stranger = new_pair()
    with caplog.at_level(logging.DEBUG):
        assert yard.answers_nothing_to(yard.peer(stranger), native())
    assert yard.rig.tally.events["key_refused"] >= 1
    assert f"the key {stranger.public} is no camera's" in caplog.text
    assert stranger.secret not in caplog.text
    assert yard.server.secret not in caplog.text


def test_a_camera_that_knocked_too_early_comes_in_once_it_is_authorized(yard: Yard) -> None:
    early = new_pair()
    peer = yard.peer(early)
    peer.send_multipart(native())
    yard.rig.until(lambda: yard.rig.tally.events["key_refused"], "the refusal")
    yard.authorize("cam1", pair=early)
    yard.rig.until(lambda: yard.rig.tally.received, "the frame")


def test_a_client_without_curve_reaches_nobody(yard: Yard) -> None:
    yard.authorize("cam1")
    assert yard.answers_nothing_to(yard.rig.peer(), native())


def test_a_client_that_takes_us_for_another_server_reaches_nobody(yard: Yard) -> None:
    assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1"), server=new_pair()), native())


def test_a_subscribers_key_is_no_cameras(yard: Yard) -> None:
    assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1", Role.SUBSCRIBER)), native())


def test_a_key_may_not_send_as_another_camera_or_line(yard: Yard) -> None:
    peer = yard.peer(yard.authorize("cam1"))
    yard.rig.take_in(peer, native(camera="cam2", seq=7))
    answer = yard.rig.json_reply(peer)
    assert (answer["status"], answer["reason"], answer["seq"]) == ("error", "not_authorized", 7)
    assert answer["detail"] == "this connection's key is camera cam1's: it may not send as cam2"
    assert yard.rig.tally.refusals[-1].camera == "cam1"
    yard.rig.take_in(peer, stock("camera=cam2;part=A1"))
    assert yard.rig.reply(peer) == b"ERR " + answer["detail"].encode()
    yard.rig.take_in(peer, native(line=5))
    assert yard.rig.json_reply(peer)["reason"] == "wrong_line"
    assert not yard.rig.worker.sent


def test_a_revoked_key_is_refused_on_the_connection_that_stands(yard: Yard) -> None:
    peer = yard.peer(yard.authorize("cam1"))
    yard.rig.take_in(peer, native(seq=1))
    yard.revoke("cam1")
    yard.rig.take_in(peer, native(seq=2))
    answer = yard.rig.json_reply(peer)
    assert (answer["reason"], answer["seq"]) == ("not_authorized", 2)
    assert answer["detail"] == "this connection's key is not authorized, or not any more"
    assert [refusal.reason for refusal in yard.rig.tally.refusals] == [RefusalReason.NOT_AUTHORIZED]
    yard.authorize("cam1")  # another key of the same camera gives the old one nothing back
    yard.rig.take_in(peer, native(seq=3))
    assert yard.rig.json_reply(peer)["reason"] == "not_authorized"


def test_a_damaged_list_shuts_newcomers_out_and_leaves_the_others(yard: Yard) -> None:
    inside = yard.authorize("cam1")
    peer = yard.peer(inside)
    yard.rig.take_in(peer, native(seq=1))
    yard.path.write_bytes(b'{"v": 1, "keys": [')
    assert yard.answers_nothing_to(yard.peer(inside), native(seq=2))
    yard.rig.take_in(peer, native(seq=3))
    assert not yard.rig.tally.refusals


def test_nobody_comes_in_without_a_handler_that_answers(tmp_path: Path) -> None:
    yard = Yard(tmp_path, handler=False)
    try:
        assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1")), native())
        yard.zap.stop()  # and none at all
        assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1")), native())
    finally:
        yard.close()


def test_a_handler_that_fails_dies_loudly_and_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard = Yard(tmp_path)
    died: list[BaseException | None] = []
    monkeypatch.setattr("threading.excepthook", lambda what: died.append(what.exc_value))
    monkeypatch.setattr(yard.guard.ring, "admits", lambda key, role: 1 / 0)
    try:
        assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1")), native())
        yard.zap.join()
        assert isinstance(died[0], ZeroDivisionError)
        assert yard.answers_nothing_to(yard.peer(yard.authorize("cam1")), native())
    finally:
        yard.close()


def test_no_more_cameras_connect_than_there_is_room_for(tmp_path: Path) -> None:
    room = [True]
    yard = Yard(tmp_path, has_room=lambda let_in: room[0])
    try:
        pair = yard.authorize("cam1")
        inside = yard.peer(pair)
        yard.rig.take_in(inside, native(seq=1))
        room[0] = False
        assert yard.answers_nothing_to(yard.peer(pair), native(seq=2))
        yard.rig.take_in(inside, native(seq=3))
    finally:
        yard.close()


@pytest.fixture
def open_rig(tmp_path: Path) -> Iterator[Rig]:
    """Without security, and with room for two."""
    rig = Rig(tmp_path)
    zap = ZapHandler(
        rig.context,
        None,
        observer=rig.tally,
        has_room=lambda let_in: rig.camera_socket.places_taken(let_in) < 2,
    )
    zap.start()
    yield rig
    assert rig.tally.conserved
    zap.stop()
    rig.close()


def test_without_security_the_number_of_connections_has_a_limit_too(open_rig: Rig) -> None:
    inside = [open_rig.peer(), open_rig.peer()]
    for seq, peer in enumerate(inside):
        open_rig.take_in(peer, native(seq=seq))
    outside = [open_rig.peer() for _ in range(3)]
    for seq, peer in enumerate(outside):
        peer.send_multipart(native(seq=10 + seq))
    open_rig.until(lambda: open_rig.tally.events["no_room"] >= 6, "refusals")
    assert open_rig.tally.received < 5, "a busy machine may let one too many in, never all"
    inside[0].close(0)
    open_rig.until(lambda: open_rig.tally.received > 2, "one of them to take the place")
    assert open_rig.tally.events["key_refused"] == 0


def test_connections_that_never_finish_their_handshake_take_nobodys_place(open_rig: Rig) -> None:
    address = open_rig.camera_socket.endpoint.removeprefix("tcp://").split(":")
    with ExitStack() as slow:
        for _ in range(5):
            slow.enter_context(socket.create_connection((address[0], int(address[1]))))
        open_rig.until(lambda: open_rig.tally.events["accepted"] == 5, "the silent ones")
        for seq in range(2):
            open_rig.take_in(open_rig.peer(), native(seq=seq))
    assert open_rig.tally.events["no_room"] == 0


@pytest.mark.parametrize("let_in", [True, False])
def test_only_who_was_let_in_lately_may_hold_the_place_of_a_young_connection(
    open_rig: Rig, monkeypatch: pytest.MonkeyPatch, let_in: bool
) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    young: list[int] = []

    def has_room(count: int) -> bool:
        young.append(count)
        return let_in

    zap = ZapHandler(context, None, observer=open_rig.tally, has_room=has_room)
    zap.start()
    with context.socket(zmq.REQ) as asking:  # as libzmq asks
        asking.connect(curve.ZAP_ENDPOINT)
        for settled_s in (60.0, 60.0, 60.0, 0.0):
            monkeypatch.setattr(curve, "SETTLED_S", settled_s)
            asking.send_multipart([b"1.0", b"1", b"aprilgan.open", b"127.0.0.1", b"", b"NULL"])
            assert asking.recv_multipart()[2] == (b"200" if let_in else b"300")
    zap.stop()
    context.term()
    assert young == ([0, 1, 2, 0] if let_in else [0, 0, 0, 0])


def test_connections_are_counted_and_a_silent_one_is_closed(yard: Yard) -> None:
    host, port = yard.rig.camera_socket.endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as silent:
        yard.rig.until(lambda: yard.rig.camera_socket.connections == 1, "the connection")
        yard.rig.until(lambda: yard.rig.camera_socket.connections == 0, "its end")
        silent.settimeout(5)
        while silent.recv(1024):  # the greeting, then the end
            pass


def test_only_a_subscriber_with_a_key_hears_verdicts(yard: Yard) -> None:
    camera, scada = yard.authorize("cam1"), yard.authorize("scada", Role.SUBSCRIBER)
    hears = yard.peer(scada, zmq.SUB)
    deaf = [yard.peer(new_pair(), zmq.SUB), yard.peer(camera, zmq.SUB), yard.rig.context.socket(zmq.SUB)]
    deaf[2].subscribe(b"")
    deaf[2].connect(yard.rig.publisher.endpoint)
    yard.rig.peers.append(deaf[2])
    yard.rig.until(lambda: yard.verdict(camera) or hears.poll(50), "a verdict at the subscriber")
    topic, body = hears.recv_multipart()
    assert (topic, json.loads(body)["camera"]) == (b"verdict.4.", "cam1")
    assert not any(each.poll(0) for each in deaf)


def test_a_revoked_subscriber_is_turned_out_and_the_others_come_back(yard: Yard) -> None:
    camera = yard.authorize("cam1")
    stays, goes = (yard.peer(yard.authorize(name, Role.SUBSCRIBER), zmq.SUB) for name in ("stays", "goes"))
    yard.rig.until(lambda: yard.verdict(camera) or (stays.poll(50) and goes.poll(50)), "verdicts at both")
    yard.revoke("goes", Role.SUBSCRIBER)
    yard.rig.ingress.turn(0)
    for each in (stays, goes):
        while each.poll(100):
            each.recv_multipart()
    yard.rig.until(lambda: yard.verdict(camera) or stays.poll(50), "a verdict at the one that stays")
    assert not goes.poll(100)


def test_the_small_sender_shows_its_key(yard: Yard, tmp_path: Path) -> None:
    pair = yard.authorize("cam1")
    keys = CurveKeys(server=yard.server.public.encode(), public=pair.public.encode(), secret=pair.secret.encode())
    assert pair.secret not in repr(keys)
    sender = NativeSender(yard.rig.camera_socket.endpoint, "cam1", curve=keys, context=yard.rig.context)
    try:
        sender.send(SHOT)
        yard.rig.until(lambda: yard.rig.tally.received, "the frame")
        assert not yard.rig.tally.refusals
    finally:
        sender.close()


def test_a_stock_sender_is_taken_in_with_the_recipe_of_the_installation_guide(yard: Yard, tmp_path: Path) -> None:
    server, _ = write_pair(tmp_path, "server", yard.server)
    _, own = write_pair(tmp_path, "cam1", yard.authorize("cam1"))
    sender = imagezmq.ImageSender(connect_to="tcp://127.0.0.1:9")
    try:
        sender.zmq_socket.disconnect("tcp://127.0.0.1:9")
        sender.zmq_socket.curve_serverkey, _ = zmq.auth.load_certificate(server)
        sender.zmq_socket.curve_publickey, sender.zmq_socket.curve_secretkey = zmq.auth.load_certificate(own)
        sender.zmq_socket.connect(yard.rig.camera_socket.endpoint)
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(sender.send_image, "cam1", np.zeros((16, 16, 3), np.uint8))
            yard.rig.until(lambda: yard.rig.worker.sent, "the frame")
            yard.rig.worker.say(accept(next(iter(yard.rig.worker.sent))))
            yard.rig.until(sent.done, "the reply")
        assert json.loads(sent.result())["decision"] == "accept"
    finally:
        sender.zmq_socket.close(0)
        sender.zmq_context.term()
