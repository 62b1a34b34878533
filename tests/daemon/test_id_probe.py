"""Guards what the freeing of waiting senders needs of libzmq and does not find in its documentation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from daemon.id_probe import IdProbe
from tests.daemon.patience import until

PATIENCE_MS = 60_000


class Hub:
    """A ROUTER like the daemon's, through several lives at one address; with CURVE or without."""

    def __init__(self, *, curve: bool) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.keys = zmq.curve_keypair() if curve else None
        self.endpoint = "tcp://127.0.0.1:*"
        self.senders: list[zmq.Socket[bytes]] = []
        self.start()

    def start(self) -> None:
        self.router = self.context.socket(zmq.ROUTER)
        for option, value in {zmq.LINGER: 0, zmq.ROUTER_MANDATORY: 1, zmq.RCVTIMEO: PATIENCE_MS}.items():
            self.router.setsockopt(option, value)
        if self.keys is not None:
            self.router.setsockopt(zmq.CURVE_SERVER, 1)
            self.router.setsockopt(zmq.CURVE_SECRETKEY, self.keys[1])
        self.probe = IdProbe(self.context, self.router)
        until(self.binds)  # libzmq closes the listener of the life before a moment later
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.number_at_start = self.number()

    def binds(self) -> bool:
        try:
            self.router.bind(self.endpoint)
        except zmq.ZMQError:
            return False
        return True

    def die(self) -> None:
        self.probe.close()
        self.router.close(0)

    def number(self) -> int:
        """The number of the probe that knocked."""
        route, *parts = self.router.recv_multipart()
        assert self.probe.answered([memoryview(part) for part in parts])
        return int.from_bytes(route[1:], "big")

    def sender(self) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.REQ)
        self.senders.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        if self.keys is not None:
            public, secret = zmq.curve_keypair()
            socket.setsockopt(zmq.CURVE_SERVERKEY, self.keys[0])
            socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.connect(self.endpoint)
        return socket

    def tell_everyone(self, body: bytes, *, count: int) -> None:
        """Say it once to every peer that has connected since the life began, until they were so many."""
        told, last = 0, self.number_at_start
        while told < count:
            self.probe.knock()
            first, last = last + 1, self.number()
            told += sum(self.tell(number, body) for number in range(first, last))
        assert told == count

    def tell(self, number: int, body: bytes) -> bool:
        """Whether somebody has that number, and so was told."""
        try:
            self.router.send_multipart((b"\0" + (number % 2**32).to_bytes(4, "big"), b"", body), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def exchange(self, senders: list[zmq.Socket[bytes]]) -> None:
        """A request of each, and to each its own answer."""
        for index, sender in enumerate(senders):
            sender.send(b"%d" % index)
        for _ in senders:
            route, _, request = self.router.recv_multipart()
            self.router.send_multipart((route, b"", b"answer to " + request))
        assert [sender.recv() for sender in senders] == [b"answer to %d" % index for index in range(len(senders))]

    def close(self) -> None:
        for sender in self.senders:
            sender.close(0)
        self.die()
        self.context.term()


@pytest.fixture(params=[False, True], ids=["plain", "curve"])
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    hub = Hub(curve=request.param)
    yield hub
    hub.close()


def test_numbers_count_up_by_one_from_the_probe_before_the_bind(hub: Hub) -> None:
    senders = [hub.sender() for _ in range(5)]
    for sender in senders:
        sender.send(b"frame")
    routes = sorted(hub.router.recv_multipart()[0] for _ in senders)
    numbers = [int.from_bytes(route[1:], "big") - hub.number_at_start for route in routes]
    assert numbers == [1, 2, 3, 4, 5]
    hub.probe.knock()
    assert hub.number() - hub.number_at_start == 6


def test_waiting_senders_are_freed_by_a_life_that_never_heard_of_them_and_idle_ones_unharmed(hub: Hub) -> None:
    waiting, idle = [hub.sender() for _ in range(3)], [hub.sender() for _ in range(2)]
    for sender in waiting:
        sender.send(b"frame")
        hub.router.recv_multipart()
    hub.exchange(idle)
    hub.die()
    hub.start()
    hub.tell_everyone(b"RESTARTED", count=5)
    assert [sender.recv() for sender in waiting] == [b"RESTARTED"] * 3
    # A handshake takes both I/O threads round several times: by then the idle ones are told as well.
    # (A request that crosses RESTARTED on its way is another story: daemon.silent_peers.Doubts.)
    hub.exchange([hub.sender()])
    for _ in range(3):  # from the first on, each request its own answer
        hub.exchange([*waiting, *idle])


def test_a_number_that_nobody_has_is_an_error_and_no_message(hub: Hub) -> None:
    assert not hub.tell(hub.number_at_start + 1, b"RESTARTED")
