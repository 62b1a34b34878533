"""CURVE on our sockets, and the ZAP handler (RFC 27) that says which keys come in, and how many connections.

Fail closed: a secured socket names a domain and enforces it, so that without a handler that answers nobody
comes in (libzmq would let every key in without a domain); whoever is not on the list, and everyone while the
list cannot be read, is answered 300. That status, "temporary", because libzmq's client gives up for good on
400, and a camera must come in once its key is authorized without being started again (seen, libzmq 4.3.5); it
knocks again when HANDSHAKE_IVL has closed the connection. pyzmq's ThreadAuthenticator answers 400 only.

A socket without CURVE names a domain as well, so that the number of connections has a limit there too; it
enforces nothing: whose handler does not answer is let in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils import z85

from daemon.authorized_keys import KeyRing, Role, authorized_file, keys_folder
from daemon.key_files import BOTH_HALVES, SERVER, KeyFileError, KeyPair, pair_of, read_pair
from daemon.observer import Observer
from daemon.settings import ConfigurationError, Settings

log = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"
LET_IN = b"200"
NOT_NOW = b"300"
_DOMAINS = {Role.CAMERA: "aprilgan.cameras", Role.SUBSCRIBER: "aprilgan.verdicts"}
_ROLES = {domain.encode("ascii"): role for role, domain in _DOMAINS.items()}
_OPEN_DOMAIN = "aprilgan.open"
_POLL_MS = 100
HANDSHAKE_S = 5.0
"""libzmq's HANDSHAKE_IVL: when a connection that was not let in is closed."""
SETTLED_S = HANDSHAKE_S + 0.5
"""Whoever is connected this long was let in; libzmq's timer may be late where the machine is busy."""


def server_pair(settings: Settings) -> KeyPair:
    """The server's pair: the credential `ingest.server_secret_key`, else the file in the state folder.

    Raises ConfigurationError, saying how to make one.
    """
    given = settings.ingest.server_secret_key
    if given is not None:
        try:
            return pair_of(given.get_secret_value())
        except ValueError as error:
            raise ConfigurationError(f"ingest.server_secret_key: {error}") from error
    try:
        return read_pair(server_file(settings.state.dir))
    except KeyFileError as error:
        raise ConfigurationError(
            f'ingest.security = "curve": {error}; `aprilgan-admin keys new --server` makes the pair'
        ) from error


def server_file(state_dir: Path) -> Path:
    """Where the server's pair lies."""
    return keys_folder(state_dir) / f"{SERVER}{BOTH_HALVES}"


class Guard:
    """What makes a socket secure, before it is bound. ring: who is authorized."""

    def __init__(self, pair: KeyPair, ring: KeyRing) -> None:
        self._pair = pair
        self.ring = ring

    @classmethod
    def of(cls, settings: Settings) -> Guard | None:
        """As the settings say, None without CURVE. Raises ConfigurationError where the server has no key."""
        if settings.ingest.security == "none":
            return None
        return cls(server_pair(settings), KeyRing(authorized_file(settings.state.dir)))

    def secure(self, socket: zmq.Socket[bytes], role: Role) -> None:
        """Only keys of this role come in, and each message carries its sender's key as User-Id."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret.encode("ascii"))
        socket.setsockopt_string(zmq.ZAP_DOMAIN, _DOMAINS[role])
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def leave_open(socket: zmq.Socket[bytes]) -> None:
    """Without CURVE: whoever comes is only counted."""
    socket.setsockopt_string(zmq.ZAP_DOMAIN, _OPEN_DOMAIN)


class ZapHandler(threading.Thread):
    """Answers libzmq's question about every connection of a socket with a domain.

    ring: who is authorized, None without CURVE. has_room: whether one more camera may connect, given how many
    were let in during the last SETTLED_S. Raises zmq.ZMQError if the context has a handler already.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        ring: KeyRing | None,
        *,
        observer: Observer,
        has_room: Callable[[int], bool] = lambda let_in: True,
    ) -> None:
        super().__init__(name="zap", daemon=True)
        self._ring = ring
        self._observer = observer
        self._has_room = has_room
        self._let_in_at: deque[float] = deque()
        self._ended = threading.Event()
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)

    def run(self) -> None:
        """Answer until stopped. An error ends the thread, and with it the service: never an open door."""
        try:
            while not self._ended.is_set():
                if self._socket.poll(_POLL_MS):
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        finally:
            self._socket.close(0)

    def stop(self) -> None:
        """End the thread; from here on nobody comes in."""
        self._ended.set()
        if self.is_alive():
            self.join()
        else:
            self._socket.close(0)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        version, request_id, domain, address, _, *mechanism = (*request, *[b""] * (6 - len(request)))
        key = _key(mechanism) if version == ZAP_VERSION else None
        is_open = domain == _OPEN_DOMAIN.encode("ascii") and mechanism == [b"NULL"]
        role = Role.CAMERA if is_open else _ROLES.get(domain)
        event, refusal = "key_refused", None if is_open else self._refusal(key, role)
        if refusal is None and role is Role.CAMERA and not self._took_a_place():
            event, refusal = "no_room", "as many cameras are connected as ingest.max_connections allows"
        if refusal is None:
            return [ZAP_VERSION, request_id, LET_IN, b"OK", (key or "").encode("ascii"), b""]
        self._observer.connection(event)
        log.warning("%s may not connect: %s", address.decode("ascii", "replace"), refusal)
        return [ZAP_VERSION, request_id, NOT_NOW, b"not authorized", b"", b""]

    def _refusal(self, key: str | None, role: Role | None) -> str | None:
        """Why this key may not come in, None where it may."""
        if key is None or role is None or self._ring is None:
            return "it shows no CURVE key"
        if not self._ring.admits(key, role):
            return self._ring.fault or f"the key {key} is no {role}'s"
        return None

    def _took_a_place(self) -> bool:
        """Whether there was one for the camera that asks; remembered until its connection has settled."""
        now = time.monotonic()
        while self._let_in_at and now - self._let_in_at[0] > SETTLED_S:
            self._let_in_at.popleft()
        if not self._has_room(len(self._let_in_at)):
            return False
        self._let_in_at.append(now)
        return True


def _key(mechanism: list[bytes]) -> str | None:
    """The client's public key in Z85. mechanism: its name and credentials."""
    if len(mechanism) != 2 or mechanism[0] != b"CURVE" or len(mechanism[1]) != 32:
        return None
    return z85.encode(mechanism[1]).decode("ascii")
