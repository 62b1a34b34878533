"""Fault 16: enrolling while the line is scored, killed at random points."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import core
from tests.end_to_end.faults.killed_enrolment import check_no_mixture, enrolments, scored_all_the_while, spoil
from tests.end_to_end.faults.oracle import rows, watched
from tests.end_to_end.harness import RunningDaemon, write_pictures

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

KILLS = 12
"""`make soak` kills 200 times."""


def test_fault_16_an_enrolment_killed_anywhere_leaves_a_bank_that_is_whole(
    daemon: RunningDaemon, tiny_scorer: core.Scorer, tmp_path: Path
) -> None:
    folders = [write_pictures(tmp_path / str(part), range(40 * part, 40 * part + 6)) for part in (1, 2)]
    with watched(daemon) as witness, enrolments(daemon, 4) as enrol:
        with scored_all_the_while(daemon) as verdicts:
            started = time.monotonic()
            assert enrol(folders[0], "weave0", None) == 0
            killed, _ = spoil(enrol, folders, within_s=time.monotonic() - started, times=KILLS, seed=16)
            assert enrol(folders[1], "weave1", None) == 0
            count = len(verdicts)
            while len(verdicts) < count + 5:
                time.sleep(0.01)
        assert killed > KILLS // 4
        for verdict in verdicts:
            assert witness.heard(verdict)["reason"] is None
        assert len({verdict["bank"] for verdict in verdicts}) >= 2
    keys = ", ".join(f"'{verdict['key']}'" for verdict in verdicts)
    check_no_mixture(daemon, rows(daemon, f"key IN ({keys})"), tiny_scorer)
