"""Faults 5, 6 and 8: the worker dies, stands still, hangs, loses its device, or meets a frame that breaks it."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest

from tests.end_to_end.faults.oracle import Witness, watched
from tests.end_to_end.faults.saboteur import marks
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, Load, a_dealer, native_message

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

LOST = {"worker_lost", "deadline"}


def test_fault_05_a_worker_killed_mid_batch_costs_its_frames_alone_and_cameras_stay(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, Load(daemon, ["top", "side", "other"]) as load:
        load.reaches(10)
        lose_the_worker(daemon, "exited", lambda pid: os.kill(pid, signal.SIGKILL))
        load.reaches(len(load.answers) + 10)
        assert {verdict["reason"] for verdict in witness.hears(load.finish())} <= {None, *LOST}


def test_fault_06_a_worker_that_stands_still_is_found_by_its_silence(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, Load(daemon, ["top", "other"]) as load:
        load.reaches(5)
        lose_the_worker(daemon, "silent", lambda pid: os.kill(pid, signal.SIGSTOP))
        load.reaches(len(load.answers) + 5)
        assert {verdict["reason"] for verdict in witness.hears(load.finish())} <= {None, *LOST}


def test_fault_06_a_worker_whose_scorer_hangs_while_it_beats_is_found_by_its_progress(
    daemon: RunningDaemon,
) -> None:
    with watched(daemon) as witness, Camera(daemon) as camera:
        lose_the_worker(daemon, "hung", lambda pid: witness.knows_spoiled(spoiled_by(camera, marks.HANGS, *LOST)))
        assert witness.heard(camera.send(picture(1)))["reason"] is None


def test_fault_08_of_eight_one_that_breaks_the_scorer_spoils_only_itself(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness:
        seven_and(daemon, witness, marks.BREAKS, "model_error", boot="breaks")
        seven_and(daemon, witness, marks.NOT_FINITE, "not_finite", boot="nan")
    kept = [json.loads(file.read_text()) for file in (daemon.state / "quarantine").glob("*.json")]
    assert [about["header"]["key"] for about in kept] == ["side:breaks:4"]


def test_fault_08_a_batch_that_does_not_fit_in_memory_is_scored_in_parts(daemon: RunningDaemon) -> None:
    before = daemon.total("batch_retries_total", reason="oom")
    with watched(daemon) as witness:
        answers = eight(daemon, marks.NEEDS_MUCH_MEMORY, boot="oom")
        assert [witness.heard(answer)["reason"] for answer in answers] == [None] * 8
    assert daemon.total("batch_retries_total", reason="oom") > before


def test_fault_08_a_lost_device_ends_the_worker_and_the_next_one_scores(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, Camera(daemon) as camera:
        lose_the_worker(
            daemon,
            "exited",
            lambda pid: witness.knows_spoiled(spoiled_by(camera, marks.LOSES_THE_DEVICE, *LOST)),
        )
        assert witness.heard(camera.send(picture(2)))["reason"] is None


def lose_the_worker(daemon: RunningDaemon, reason: str, strike) -> None:  # type: ignore[no-untyped-def]
    """Strike the worker, and wait for the supervisor to say why it replaced it and for its successor."""
    pid = daemon.wait_for_worker()
    before = daemon.total("worker_restarts_total", reason=reason)
    thread = threading.Thread(target=strike, args=(pid,))
    thread.start()
    daemon.wait_for_worker(other_than=pid)
    thread.join()
    until(lambda: daemon.total("worker_restarts_total", reason=reason) == before + 1, reason)


def spoiled_by(camera: Camera, colour: tuple[int, int, int], *reasons: str) -> dict[str, object]:
    """The verdict of a part whose picture does harm."""
    verdict = camera.send(plain(colour))
    assert verdict["reason"] in reasons, verdict
    return verdict


def seven_and(
    daemon: RunningDaemon, witness: Witness, colour: tuple[int, int, int], reason: str, *, boot: str
) -> None:
    """Eight frames in one batch: seven are scored, the harmful one is uninspected for this reason."""
    answers = eight(daemon, colour, boot=boot)
    witness.knows_spoiled(answers[4])
    assert answers[4]["reason"] == reason
    assert [witness.heard(answer)["reason"] for answer in answers] == [None] * 4 + [reason] + [None] * 3


def eight(daemon: RunningDaemon, colour: tuple[int, int, int], *, boot: str) -> list[dict[str, object]]:
    """Eight frames that wait behind a slow one, so that they make a batch; the fifth is harmful."""
    pictures = [picture(seed) for seed in range(8)]
    pictures[4] = plain(colour)
    with a_dealer(daemon) as sender:
        sender.send_multipart(native_message(99, plain(marks.SLOW), boot=boot))
        for seq, image in enumerate(pictures):
            sender.send_multipart(native_message(seq, image, boot=boot))
        replies = [json.loads(sender.recv_multipart()[-1]) for _ in range(9)]
    by_seq = {reply["seq"]: reply for reply in replies}
    return [by_seq[seq] for seq in range(8)]


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    """A BGR picture of one RGB colour."""
    return np.full((64, 64, 3), colour[::-1], np.uint8)
