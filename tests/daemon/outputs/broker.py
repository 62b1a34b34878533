"""A small MQTT 3.1.1 broker on a real socket, for tests: QoS 0 and 1, retained messages, last wills, passwords.

A thread a connection. `kill` closes everything at once, as a killed process would; what was retained is gone then.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from tests.ports import free_ports

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
BAD_PASSWORD = 4


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    retain: bool = False


@dataclass
class Session:
    """One connection. subscriptions: a trailing # is all that is understood."""

    connection: socket.socket
    subscriptions: list[str] = field(default_factory=list)
    will: Message | None = None

    def send(self, kind: int, body: bytes, flags: int = 0) -> None:
        self.connection.sendall(bytes([kind << 4 | flags]) + _length(len(body)) + body)


class Broker:
    """`received` is everything that was published, in order; `acknowledge` false leaves PUBLISH unanswered."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, password: str | None = None) -> None:
        self.acknowledge = True
        self.received: list[Message] = []
        self.retained: dict[str, bytes] = {}
        self.connects = 0
        self._tls, self._password = tls, password
        self._lock = threading.RLock()
        self._sessions: list[Session] = []
        self._listener: socket.socket | None = None
        (self.port,) = free_ports(1)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Listen, in each life on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def kill(self) -> None:
        """Close everything and forget what was retained."""
        with self._lock:
            if self._listener is not None:
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            for session in self._sessions:
                _close(session.connection)
            self._sessions.clear()
            self.retained.clear()

    def payloads(self, topic: str) -> list[bytes]:
        with self._lock:
            return [message.payload for message in self.received if message.topic == topic]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            session = Session(connection)
            with self._lock:
                if self._listener is None:
                    return
                self._sessions.append(session)
            while self._take(session, *_packet(connection)):
                pass
        except (OSError, EOFError):
            pass
        finally:
            _close(connection)
        self._lose(session) if "session" in locals() else None

    def _lose(self, session: Session) -> None:
        with self._lock:
            alive = session in self._sessions
            if alive:
                self._sessions.remove(session)
            if alive and session.will is not None:
                self._publish(session.will)

    def _take(self, session: Session, kind: int, flags: int, body: bytes) -> bool:
        with self._lock:
            if kind == CONNECT:
                return self._connect(session, body)
            if kind == PUBLISH:
                return self._take_message(session, flags, body)
            if kind == SUBSCRIBE:
                self._subscribe(session, body)
            if kind == PINGREQ:
                session.send(PINGRESP, b"")
            if kind == DISCONNECT:
                session.will = None
            return kind != DISCONNECT

    def _connect(self, session: Session, body: bytes) -> bool:
        name, rest = _string(body)
        assert (name, rest[0]) == (b"MQTT", 4)
        flags, rest = rest[1], rest[4:]
        _, rest = _string(rest)
        if flags & 4:
            topic, rest = _string(rest)
            payload, rest = _string(rest)
            session.will = Message(topic.decode(), payload, bool(flags & 32))
        _, rest = _string(rest) if flags & 128 else (b"", rest)
        password, rest = _string(rest) if flags & 64 else (b"", rest)
        if self._password is not None and password.decode() != self._password:
            session.send(CONNACK, bytes([0, BAD_PASSWORD]))
            session.will = None
            return False
        self.connects += 1
        session.send(CONNACK, b"\0\0")
        return True

    def _take_message(self, session: Session, flags: int, body: bytes) -> bool:
        topic, rest = _string(body)
        number, payload = (rest[:2], rest[2:]) if flags & 6 else (b"", rest)
        if not self.acknowledge:
            return True
        self._publish(Message(topic.decode(), payload, bool(flags & 1)))
        if number:
            session.send(PUBACK, number)
        return True

    def _publish(self, message: Message) -> None:
        self.received.append(message)
        if message.retain:
            self.retained[message.topic] = message.payload
        for session in self._sessions:
            if any(_matches(pattern, message.topic) for pattern in session.subscriptions):
                with suppress(OSError):
                    session.send(PUBLISH, _frame(message.topic, message.payload))

    def _subscribe(self, session: Session, body: bytes) -> None:
        number, rest = body[:2], body[2:]
        while rest:
            pattern, rest = _string(rest)
            rest = rest[1:]
            session.subscriptions.append(pattern.decode())
        session.send(SUBACK, number + b"\0" * len(session.subscriptions))
        for topic, payload in self.retained.items():
            if any(_matches(pattern, topic) for pattern in session.subscriptions):
                session.send(PUBLISH, _frame(topic, payload), flags=1)


def _packet(connection: socket.socket) -> tuple[int, int, bytes]:
    first = _exactly(connection, 1)[0]
    size, shift = 0, 0
    while True:
        byte = _exactly(connection, 1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return first >> 4, first & 15, _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _length(size: int) -> bytes:
    data = b""
    while True:
        size, byte = divmod(size, 128)
        data += bytes([byte | (128 if size else 0)])
        if not size:
            return data


def _string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from("!H", data)
    return data[2 : 2 + size], data[2 + size :]


def _frame(topic: str, payload: bytes) -> bytes:
    return struct.pack("!H", len(topic)) + topic.encode() + payload


def _matches(pattern: str, topic: str) -> bool:
    return topic.startswith(pattern[:-1]) if pattern.endswith("#") else topic == pattern


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
