"""Loopback ports for servers that tests start, kill and start again."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, suppress

LISTENING = range(15_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago.

    They lie below those that the kernel gives to outgoing connections, so none of these takes the port of a server
    that is between two lives.
    """
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = secrets.choice(LISTENING)
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports
