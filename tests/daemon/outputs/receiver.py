"""A webhook's other end on a real socket: it does what a script tells it, request by request."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.receiver.requests.append((dict(self.headers), body))
        self.receiver.answer(self, body)

    def say(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Receiver:
    """`taken` holds the bodies that were answered 2xx; `answer` may be replaced at any time."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Answer = self.take
        self.hold = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"receiver": self}))
        self.port = self._server.server_address[1]
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def keys(self) -> list[str]:
        return [body["key"] for body in self.taken]

    def take(self, handler: Handler, body: dict[str, Any]) -> None:
        self.taken.append(body)
        handler.say(200, b"{}")

    def refuse(self, status: int) -> Answer:
        return lambda handler, _: handler.say(status)

    def hang(self, handler: Handler, _: dict[str, Any]) -> None:
        """No answer until the test ends."""
        handler.close_connection = True
        self.hold.wait()

    def drip(self, handler: Handler, _: dict[str, Any]) -> None:
        """An answer whose header never ends, a byte at a time."""
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.hold.wait(0.02):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up."""
