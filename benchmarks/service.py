"""The real service as the demo and the benchmarks run it: its own folder, free loopback ports, real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

START_S = 120.0
STOP_S = 30.0
LONGEST_STATE_PATH = 75
"""The daemon's sockets lie in the state folder, and a Unix socket's path ends at 107 bytes."""


class ServiceFailed(Exception):
    """The service did not do what it should; the message says where its log is."""


class Service:
    """A daemon on a folder of its own; a context manager that stops it by SIGTERM.

    folder: emptied and filled anew. lines: line id -> its settings. cameras: name -> line id.
    """

    def __init__(
        self, folder: Path, *, lines: dict[int, dict[str, Any]], cameras: dict[str, int], extra: str = ""
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._temporary = None
        state = (folder / "state").resolve()
        if len(os.fsencode(state)) > LONGEST_STATE_PATH:
            self._temporary = Path(tempfile.mkdtemp(prefix="ag-"))
            state = self._temporary
        self.state = state
        self.log = folder / "daemon.log"
        self.config = folder / "aprilgan.toml"
        ingest, publish, self._http = _free_ports(3)
        self.ingest = f"tcp://127.0.0.1:{ingest}"
        self.config.write_text(self._toml(publish, lines, cameras, extra), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "daemon", "--config", str(self.config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The main process."""
        if self._process is None:
            raise ServiceFailed("the service was not started")
        return self._process.pid

    def wait_for(self, check: str) -> None:
        """Wait until a readiness check passes. Raises ServiceFailed."""
        self._wait(lambda: bool((self.page("readyz") or {}).get("checks", {}).get(check, {}).get("ok")), check)

    def wait_until_ready(self) -> None:
        """Wait until all of them pass. Raises ServiceFailed."""
        self._wait(self._ready, "ready")

    def page(self, name: str) -> dict[str, Any] | None:
        """/livez, /readyz or /statusz; None while nobody answers."""
        text = self.text(name)
        page: dict[str, Any] | None = None if text is None else json.loads(text)
        return page

    def text(self, name: str) -> str | None:
        """A page as it comes."""
        try:
            with urlopen(f"http://127.0.0.1:{self._http}/{name}", timeout=5) as reply:
                return str(reply.read().decode())
        except HTTPError as error:
            with error:
                return error.read().decode()
        except (URLError, OSError):
            return None

    def admin(self, *arguments: str, show: bool = False) -> str:
        """Run `aprilgan-admin`; its standard output. show: let it use the terminal. Raises ServiceFailed."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon.admin", "--config", str(self.config), *arguments],
            env=_environment(),
            stdout=None if show else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceFailed(f"aprilgan-admin {' '.join(arguments[:3])} ended with {done.returncode}")
        return done.stdout or ""

    def stop(self) -> None:
        """SIGTERM, and wait for exit code 0. Raises ServiceFailed."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ServiceFailed(f"the service did not stop within {STOP_S:g} s; see {self.log}") from None
        if code:
            raise ServiceFailed(f"the service ended with exit code {code}; see {self.log}")

    def _ready(self) -> bool:
        checks = (self.page("readyz") or {}).get("checks", {})
        return bool(checks) and all(check["ok"] for check in checks.values())

    def _wait(self, look: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + START_S
        while not look():
            if self._process is None or self._process.poll() is not None:
                raise ServiceFailed(f"the service ended while starting; see {self.log}")
            if time.monotonic() > give_up:
                raise ServiceFailed(f"waited {START_S:g} s for {what!r} in vain; see {self.log}")
            time.sleep(0.1)

    def _toml(self, publish: int, lines: dict[int, dict[str, Any]], cameras: dict[str, int], extra: str) -> str:
        tables = "".join(
            f"\n[[lines]]\nid = {line}\n"
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items())
            for line, own in lines.items()
        )
        tables += "".join(f'\n[[cameras]]\nname = "{name}"\nline = {line}\n' for name, line in cameras.items())
        return (
            f'[state]\ndir = "{self.state}"\n\n[ingest]\nbind = "{self.ingest}"\n\n'
            f'[publish]\nbind = "tcp://127.0.0.1:{publish}"\n\n[http]\nbind = "127.0.0.1:{self._http}"\n\n'
            f'[redis]\nurl = "embedded"\n\n[records]\nurl = "sqlite"\n{extra}{tables}'
        )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("APRILGAN_")}


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports
