"""Faults 13, 14 and 19: more frames than can be scored, a clock that jumps, and many frames in a row."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.injections import flood
from tests.end_to_end.faults.oracle import watched
from tests.end_to_end.harness import RunningDaemon, until
from tests.end_to_end.senders import Load

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


def test_fault_13_a_greedy_camera_is_told_to_wait_and_its_neighbour_is_served(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness):
        replies = flood(daemon, "greedy")
        assert {reply["status"] for reply in replies} == {"verdict", "busy"}
        for reply in replies:
            if reply["status"] == "verdict":
                witness.heard(reply)


def test_fault_14_a_wall_clock_that_jumps_changes_no_verdict(daemon: RunningDaemon, wall_clock: Path) -> None:
    with watched(daemon) as witness, Load(daemon, ["top", "other"]) as load:
        load.reaches(5)
        for offset in ("7200", "-7200", "0"):
            set_clock(wall_clock, offset)
            load.reaches(len(load.answers) + 6)
        assert {verdict["reason"] for verdict in witness.hears(load.finish())} == {None}
        assert daemon.passes("worker")


def test_fault_19_many_frames_leave_files_and_series_as_they_were(daemon: RunningDaemon) -> None:
    assert daemon.process is not None
    process = psutil.Process(daemon.process.pid)
    with watched(daemon) as witness:
        with Load(daemon, ["top", "side", "other"]) as load:
            load.reaches(60)
            files, series = process.num_fds(), len(daemon.series())
            load.reaches(300)
            assert {verdict["reason"] for verdict in witness.hears(load.finish())} == {None}
        until(lambda: process.num_fds() <= files, "the cameras' files to close")
        assert len(daemon.series()) == series


def set_clock(file: Path, offset: str) -> None:
    """Whole or not at all: other processes read it at any time."""
    draft = file.with_suffix(".draft")
    draft.write_text(offset)
    draft.rename(file)
