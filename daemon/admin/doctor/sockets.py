"""The three addresses: this machine's, and free or served by our own daemon."""

from __future__ import annotations

import os
import socket
from typing import Any

from daemon.admin.doctor.finding import Finding
from daemon.admin.running import page
from daemon.admin.session import Session
from daemon.health import parse_bind
from daemon.settings import ConfigurationError

MAX_SOCKET_PATH = 107
_ANYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def check(session: Session) -> list[Finding]:
    """A finding for each address."""
    settings, ours = session.settings, page(session, "livez") is not None
    return [
        _socket("ingest.bind", settings.ingest.bind, ours=ours),
        _socket("publish.bind", settings.publish.bind, ours=ours),
        _pages(settings.http.bind, ours=ours),
    ]


def _pages(bind: str, *, ours: bool) -> Finding:
    try:
        parse_bind(bind)
    except ConfigurationError as error:
        return Finding("http.bind", "configuration", str(error), 'set [http] bind = "127.0.0.1:9108"')
    return _socket("http.bind", f"tcp://{bind}", ours=ours)


def _socket(name: str, endpoint: str, *, ours: bool) -> Finding:
    """ours: whether our daemon answers at http.bind; who serves an address otherwise is a stranger."""
    transport, _, address = endpoint.partition("://")
    if transport == "ipc":
        return _unix_socket(name, address, ours=ours)
    host, _, port = address.rpartition(":")
    if transport != "tcp" or not port.isdigit():
        detail = f"expected tcp://ADDRESS:PORT or ipc://PATH, got {endpoint!r}"
        return Finding(name, "configuration", detail, f"correct {name}")
    host = host.strip("[]")
    host = _ANYWHERE.get(host, host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not _is_here(family, host):
        remedy = f"ip address shows this machine's own; set {name} to one of them, or to 0.0.0.0"
        return Finding(name, "configuration", f"{host} is no address of this machine", remedy)
    return _served(name, endpoint, served=_answers(family, (host, int(port))), ours=ours, port=port)


def _unix_socket(name: str, path: str, *, ours: bool) -> Finding:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        detail = f"the socket's path has {length} bytes, {MAX_SOCKET_PATH} are the most: {path}"
        return Finding(name, "configuration", detail, f"set {name} to a shorter path")
    return _served(name, f"ipc://{path}", served=_answers(socket.AF_UNIX, path), ours=ours)


def _served(name: str, endpoint: str, *, served: bool, ours: bool, port: str = "") -> Finding:
    if not served or ours:
        return Finding(name, "ok", f"{endpoint} is {'served' if served else 'free'}")
    who = f"sudo ss -tlnp 'sport = :{port}'" if port else "sudo ss -xlp"
    remedy = f"{who} names it; stop it, or set {name} to another address"
    return Finding(
        name, "unavailable", f"{endpoint} is served by another program: no daemon of ours answers", remedy
    )


def _is_here(family: socket.AddressFamily, host: str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _answers(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(address) == 0
