"""Faults 7 and 17: the daemon is killed, or told to stop, while senders wait."""

from __future__ import annotations

import os
import signal

import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.postgres_rig import Postgres
from tests.end_to_end.faults.oracle import outbox, rows, watched
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Load, a_dealer, native_message

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
            # a sender that knows of its loss asks again and is told the same
            assert sender.poll(0) == 0
            sender.send_multipart(shots[0])
            assert b'"restart"' in sender.recv_multipart()[-1]
        assert witness.told == []


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
