"""Faults 11 and 12: the disk is full; Redis is dead, has lost a bank, or has another one under its name."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
import redis

from tests.end_to_end.faults.oracle import watched
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load

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
            answers.append(camera.send_text(255 - picture(len(answers), scratched=True)))
            return answers[-1].startswith(b"BUSY ")

        try:
            until(refused, "the outbox to run out of space", within_s=60)
        finally:
            ballast.unlink()
        assert b"outbox" in answers[-1]
        named = [verdict["heatmap"] for verdict in witness.hears(answers) if verdict["heatmap"]]
        assert all((daemon.state / path).stat().st_size > 0 for path in named)

        def answered() -> bool:
            return bool(witness.hears([camera.send_text(picture(1))]))

        until(answered, "a verdict again", within_s=30)


def test_fault_12_redis_dead_is_noticed_mended_and_waited_for_by_nobody(daemon: RunningDaemon) -> None:
    server = until(daemon.redis_server, "the embedded server")
    with watched(daemon) as witness, Load(daemon, ["top", "other"]) as load:
        load.reaches(5)
        server.send_signal(signal.SIGSTOP)
        load.reaches(len(load.answers) + 10)
        server.send_signal(signal.SIGKILL)
        until(lambda: daemon.redis_server(but=server), "a new server", within_s=60)
        until(lambda: daemon.total("redis_up") == 1, "Redis to answer", within_s=60)
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


def fill(file: os.PathLike[str]) -> None:
    """Write until the disk is full."""
    with suppress(OSError), open(file, "wb", buffering=0) as ballast:
        while ballast.write(bytes(65536)):
            pass
