"""Faults 7 and 17: the daemon is killed, or told to stop, while senders wait."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.faults.oracle import outbox, rows, watched
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load, a_dealer, native_message

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


def test_fault_07_what_was_in_flight_when_the_daemon_was_killed_is_uninspected_and_never_lost(
    daemon: RunningDaemon,
) -> None:
    worker = daemon.wait_for_worker()
    with watched(daemon) as witness:
        os.kill(worker, signal.SIGSTOP)  # so that nothing is answered any more
        with a_dealer(daemon) as sender:
            shots = [native_message(seq, picture(seq), boot="killed") for seq in range(3)]
            for shot in shots:
                sender.send_multipart(shot)
            until(lambda: len(outbox(daemon)[1]) == 3, "three pending rows")
            daemon.kill()
            daemon.start()
            settled = rows(daemon, "key LIKE 'side:killed:%'")
            assert {(row["decision"], row["reason"]) for row in settled} == {("uninspected", "restart")}
            assert len(settled) == daemon.total("recovered_total") == 3
            # a sender that hears of the restart asks again and is told the same
            assert sender.recv_multipart() == [b"", b"RESTARTED"]
            sender.send_multipart(shots[0])
            assert b'"restart"' in sender.recv_multipart()[-1]
        assert witness.told == []


def test_fault_07_three_stock_senders_that_wait_are_freed_by_the_next_life(daemon: RunningDaemon) -> None:
    worker = daemon.wait_for_worker()
    names = ["top", "side", "other"]
    with watched(daemon) as witness, ExitStack() as running:
        cameras = [running.enter_context(Camera(daemon, name)) for name in names]
        pool = running.enter_context(ThreadPoolExecutor(len(names)))
        os.kill(worker, signal.SIGSTOP)  # so that nothing is answered any more
        waiting = [pool.submit(camera.send_text, picture(seed)) for seed, camera in enumerate(cameras)]
        until(lambda: len(outbox(daemon)[1]) == 3, "three pending rows")
        daemon.kill()
        daemon.start()
        assert [sender.result(timeout=60) for sender in waiting] == [b"RESTARTED"] * 3
        for turn in range(2):  # each verdict is the frame's own
            for camera in cameras:
                verdict = witness.heard(camera.send(picture(turn), part=f"{camera.name}-{turn}"))
                assert (verdict["part"], verdict["reason"]) == (f"{camera.name}-{turn}", None)
        assert daemon.total("camera_connections_total", event="told_restart") == 3


def test_fault_17_sigterm_while_sql_never_answers_leaves_the_verdicts_to_the_next_life(
    daemon: RunningDaemon, postgres: Postgres
) -> None:
    with watched(daemon) as witness:
        with postgres.frozen(), Load(daemon, ["top", "other"]) as load:
            load.reaches(20)
            assert daemon.terminate() == ExitCode.OK, daemon.log.read_text()[-4000:]
            verdicts = witness.hears(load.finish())
            assert {verdict["reason"] for verdict in verdicts} <= {None, "restart"}
        daemon.start()


def test_fault_17_sigterm_under_load_answers_everyone_and_exits_0(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness:
        with Load(daemon, ["top", "side", "other"]) as load:
            load.reaches(20)
            assert daemon.terminate() == ExitCode.OK, daemon.log.read_text()[-4000:]
            answers = load.finish()
        verdicts = witness.hears(answers)
        assert len(verdicts) + answers.count(b"BUSY restart") == len(answers)
        assert len(rows(daemon)) == len(outbox(daemon)[0]), "the drain took everything along"
        daemon.start()
