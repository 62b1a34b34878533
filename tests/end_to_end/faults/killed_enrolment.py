"""Fault 16: enrolments that are killed at random points while their line is being scored.

    with enrolments(daemon, 4) as enrol, scored_all_the_while(daemon) as verdicts:
        spoil(enrol, folders, within_s=2.0, times=200, seed=16)

and then `check_no_mixture` of the rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select as system
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from tests.end_to_end.faults.oracle import select
from tests.end_to_end.harness import RunningDaemon, clean_environment, picture
from tests.end_to_end.senders import Camera

Enrol = Callable[[Path, str, float | None], int]
"""(folder of pictures, product, seconds until SIGKILL or None) -> exit status, negative for a signal."""


@contextmanager
def enrolments(daemon: RunningDaemon, line: int) -> Iterator[Enrol]:
    """The real command, forked from a process that has imported everything; its remarks go to the daemon's log."""
    with daemon.log.open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.faults.enroller"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
            env={**clean_environment(), **daemon.environment},
        )
    assert server.stdin is not None
    assert server.stdout is not None
    told, heard = server.stdin, server.stdout
    assert heard.readline() == "ready\n"

    def enrol(pictures: Path, product: str, kill_after_s: float | None) -> int:
        command = ["--config", str(daemon.config), "enroll", "--line", str(line), str(pictures)]
        told.write(json.dumps([*command, "--product", product]) + "\n")
        child = os.pidfd_open(int(heard.readline()))
        if kill_after_s is not None and not _ended(child, kill_after_s):
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
        told.write("\n")
        return int(heard.readline())

    try:
        yield enrol
    finally:
        told.close()
        heard.close()
        server.kill()
        server.wait()


def spoil(enrol: Enrol, folders: Sequence[Path], *, within_s: float, times: int, seed: int) -> tuple[int, int]:
    """So many enrolments, each killed at a random point of the `within_s` that a whole one takes.

    Returns how many were killed and how many were whole before their time came.
    """
    draw = random.Random(seed)
    ends = [
        enrol(folders[turn % len(folders)], f"weave{turn % len(folders)}", draw.uniform(0, within_s))
        for turn in range(times)
    ]
    assert set(ends) <= {0, -signal.SIGKILL}, ends
    return ends.count(-signal.SIGKILL), ends.count(0)


@contextmanager
def scored_all_the_while(daemon: RunningDaemon) -> Iterator[list[dict[str, Any]]]:
    """A camera that sends until the end; its verdicts. A frame's part is the seed of its picture."""
    verdicts: list[dict[str, Any]] = []
    ending = threading.Event()

    def run() -> None:
        with Camera(daemon) as camera:
            while not ending.is_set():
                seed = 5000 + len(verdicts) % 50
                verdicts.append(camera.send(picture(seed), part=seed))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield verdicts
    finally:
        ending.set()
        thread.join()


def check_no_mixture(daemon: RunningDaemon, rows: Sequence[dict[str, Any]], scorer: core.Scorer) -> None:
    """Each row was scored with one bank that existed whole, at that bank's own threshold.

    rows: of one line; `part` is the seed of the picture. scorer: computes what the bank gives by itself.
    """
    changes = select(daemon, f"SELECT * FROM line_changes WHERE line = {rows[0]['line']}")
    pairs = {(change["bank_sha256"], change["reject_threshold"]) for change in changes}
    banks = {sha256: _bank(daemon, sha256, scorer) for sha256 in {row["bank_sha256"] for row in rows}}
    for row in rows:
        assert (row["bank_sha256"], row["threshold"]) in pairs, row
        image = np.ascontiguousarray(picture(int(row["part"]))[:, :, ::-1])
        features = scorer.encode([image])
        (alone,) = scorer.match(features, [banks[row["bank_sha256"]]], want_map=lambda index, score: False)
        assert row["score"] == pytest.approx(alone.score, rel=1e-3), row


def _bank(daemon: RunningDaemon, sha256: str, scorer: core.Scorer) -> Any:
    (row,) = select(daemon, f"SELECT path FROM banks WHERE sha256 = '{sha256}'")
    data = (daemon.state / row["path"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    return scorer.prepare(core.bank_from_bytes(data, sha256=sha256))


def _ended(pidfd: int, timeout_s: float) -> bool:
    return bool(system.select([pidfd], [], [], timeout_s)[0])
