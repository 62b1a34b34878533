"""Faults 11 and 12: the disk is full; Redis is dead, has lost a bank, or has another one under its name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.injections import redis_stopped
from tests.end_to_end.faults.oracle import rows, watched
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load

MIB = 1024 * 1024
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own takes root")
def test_fault_11_on_a_full_disk_nothing_is_accepted_that_is_not_recorded_and_space_mends_it(
    daemon: RunningDaemon,
) -> None:
    ballast = daemon.state / "ballast"
    with watched(daemon) as witness, Camera(daemon) as camera:
        fill(ballast)
        answers = []

        def refused() -> bool:
            fill(ballast)  # what retention gives up is taken as well
            answers.append(camera.send_text(255 - picture(len(answers), scratched=True)))
            return answers[-1].startswith(b"BUSY ")

        try:
            until(refused, "the outbox to run out of space")
        finally:
            ballast.unlink()
        assert b"outbox" in answers[-1]
        witness.hears(answers)
        named = [row["heatmap_path"] for row in rows(daemon, "heatmap_path IS NOT NULL")]
        assert all((daemon.state / path).stat().st_size > 0 for path in named)

        def answered() -> bool:
            return bool(witness.hears([camera.send_text(picture(1))]))

        until(answered, "a verdict again")


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of its own takes root")
def test_fault_11_a_disk_that_runs_out_costs_pictures_the_rejected_last_and_no_verdict(
    daemon: RunningDaemon,
) -> None:
    ballast = daemon.state / "ballast"
    with watched(daemon) as witness, Camera(daemon) as camera:

        def reject() -> dict[str, Any]:
            return witness.heard(camera.send(255 - picture(1, scratched=True)))

        def until_with(free_bytes: int, look: Callable[[], object], what: str) -> None:
            """Until then what pictures give up is taken at once: it would end the state."""

            def fill_and_look() -> bool:
                fill(ballast, leave=free_bytes)
                return bool(look())

            until(fill_and_look, what)

        def comes_to(state: str, free_bytes: int) -> None:
            until_with(
                free_bytes, lambda: daemon.total("storage_state", state=state) == 1, f"the disk to be {state}"
            )

        try:
            first = reject()
            assert (daemon.state / first["heatmap"]).exists()
            comes_to("low", 5 * MIB)
            comes_to("critical", 5 * MIB // 2)
            assert reject()["heatmap"]
            comes_to("full", MIB)
            until_with(MIB, lambda: reject()["heatmap"] is None, "no more heatmaps")
            until_with(MIB, lambda: not rows(daemon, "heatmap_path IS NOT NULL"), "the last pictures to give way")
        finally:
            ballast.unlink()
        assert not (daemon.state / first["heatmap"]).exists()
        (row,) = rows(daemon, f"key = '{first['key']}'")
        assert (row["decision"], row["no_heatmap"]) == ("reject", "retention")
        until(lambda: daemon.total("storage_state", state="ok") == 1, "space again")
        until(lambda: reject()["heatmap"] is not None, "heatmaps again")


def test_fault_12_redis_dead_is_noticed_mended_and_waited_for_by_nobody(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness), Load(daemon, ["top"]) as load:
        load.reaches(5)
        with redis_stopped(daemon):
            load.reaches(len(load.answers) + 10)
        assert {verdict["reason"] for verdict in witness.hears(load.finish())} == {None}


def test_fault_12_banks_that_redis_lost_or_damaged_come_from_their_files(daemon: RunningDaemon) -> None:
    with redis.Redis(unix_socket_path=str(daemon.state / "run/redis.sock")) as cache:
        worker = daemon.wait_for_worker()
        with watched(daemon) as witness, Camera(daemon) as top, Camera(daemon, "other") as other:
            banks = {line: witness.heard(camera.send(picture(3))) for line, camera in ((4, top), (6, other))}
            cache.flushall()
            (file,) = (daemon.state / "banks").glob(f"*/{banks[4]['bank']}*.safetensors")
            damaged = file.read_bytes()[:-100] + bytes(100)
            cache.set(f"aprilgan:bank:{file.parent.name}:{file.stem}", damaged)
            os.kill(worker, signal.SIGKILL)
            daemon.wait_for_worker(other_than=worker)
            for line, camera in ((4, top), (6, other)):
                again = witness.heard(camera.send(picture(3)))
                assert (again["bank"], again["score"]) == (banks[line]["bank"], banks[line]["score"])
    assert daemon.total("bank_loads_total", source="redis", result="bad_sha") >= 1


def fill(file: Path, *, leave: int = 0) -> None:
    """Write until so many bytes are free, or the disk is full."""
    with suppress(OSError), file.open("ab", buffering=0) as ballast:
        while free_bytes(file) > leave and ballast.write(bytes(65536)):
            pass


def free_bytes(file: Path) -> int:
    room = os.statvfs(file.parent)
    return room.f_bavail * room.f_frsize
