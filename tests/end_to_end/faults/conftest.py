"""One daemon for every fault; a test that ends a life of it starts the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import core
from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.faults.plant import prepared_daemon
from tests.end_to_end.harness import RunningDaemon


@pytest.fixture(scope="package")
def wall_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """How many seconds the daemon's wall clock is off."""
    file = tmp_path_factory.mktemp("clock") / "offset"
    file.write_text("0")
    return file


@pytest.fixture(scope="package")
def shared(postgres: Postgres, tiny_scorer: core.Scorer, wall_clock: Path) -> Iterator[RunningDaemon]:
    """The running daemon."""
    with prepared_daemon(postgres, tiny_scorer, wall_clock) as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: RunningDaemon) -> RunningDaemon:
    """The shared daemon with a worker that is ready."""
    shared.wait_for_worker()
    return shared
