"""A real Redis-compatible server for a test module, on its own socket."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.embedded_redis import EmbeddedRedis


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for socket names (107 bytes in all)."""
    folder = Path(tempfile.mkdtemp(prefix="ag-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_redis() -> Iterator[EmbeddedRedis]:
    """A started server, stopped at the end."""
    with short_folder() as folder:
        server = EmbeddedRedis(folder / "redis.sock", folder / "data")
        server.start()
        try:
            yield server
        finally:
            server.stop()
