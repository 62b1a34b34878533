"""HTTP pages on loopback: /metrics, /livez, /readyz, /statusz. GET only; changes nothing.

Knows no ingress and no worker: it serves a registry and three callables.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from daemon.readiness import Check
from daemon.settings import ConfigurationError

log = logging.getLogger(__name__)

CLIENT_TIMEOUT_S = 5.0


class BindError(Exception):
    """An address that cannot be served on now: taken, or not this machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the pages show. All are called from the server's threads and must be quick and not block."""

    registry: CollectorRegistry
    live: Callable[[], Mapping[str, Check]]
    ready: Callable[[], Mapping[str, Check]]
    status: Callable[[], Mapping[str, Any]]


class HealthServer:
    """Serves `pages` on `bind` ("127.0.0.1:9108"; port 0 takes a free one) in a thread of its own.

    Raises ConfigurationError or BindError: a service that cannot be watched should not start.
    """

    def __init__(self, bind: str, pages: Pages) -> None:
        host, port = parse_bind(bind)
        handler = type("PagesHandler", (_Handler,), {"pages": pages})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise BindError(f"http.bind = {bind!r} cannot be served on: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and release the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def parse_bind(bind: str) -> tuple[str, int]:
    """ "HOST:PORT" with a loopback host. Raises ConfigurationError: these pages have no password."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        address, number = ipaddress.ip_address(host), int(port)
    except ValueError as error:
        raise ConfigurationError(
            f"http.bind: expected ADDRESS:PORT such as 127.0.0.1:9108, got {bind!r}"
        ) from error
    if not address.is_loopback:
        raise ConfigurationError(
            f"http.bind: expected a loopback address, got {bind!r} "
            f"(to read it from another machine, put a proxy with a password before it)"
        )
    if not 0 <= number <= 65535:
        raise ConfigurationError(f"http.bind: expected a port of 0 to 65535, got {number}")
    return host, number


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or a page that failed: neither may disturb anything else."""
        log.warning("a page could not be served to %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    pages: Pages
    timeout = CLIENT_TIMEOUT_S  # a client that never finishes its request
    server_version = "aprilgan"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/livez":
            self._checks(self.pages.live())
        elif path == "/readyz":
            self._checks(self.pages.ready())
        elif path == "/statusz":
            self._json(HTTPStatus.OK, self.pages.status())
        else:
            pages = ["/metrics", "/livez", "/readyz", "/statusz"]
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such page", "pages": pages})

    def _metrics(self) -> None:
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        self._answer(HTTPStatus.OK, content_type, encode(self.pages.registry))

    def _checks(self, checks: Mapping[str, Check]) -> None:
        passed = all(check.ok for check in checks.values())
        status = HTTPStatus.OK if passed else HTTPStatus.SERVICE_UNAVAILABLE
        body = {"ok": passed, "checks": {name: asdict(check) for name, check in checks.items()}}
        self._json(status, body)

    def _json(self, status: HTTPStatus, body: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(body, default=str).encode() + b"\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""
        log.debug(format, *args)
