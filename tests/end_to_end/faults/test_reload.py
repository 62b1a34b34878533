"""Fault 15: settings that are read anew while frames come in, good ones and bad ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

import core
from daemon.records import Records
from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.injections import SPOILT, reload_spoilt
from tests.end_to_end.faults.oracle import watched
from tests.end_to_end.faults.plant import CAMERAS, LINES, enrol
from tests.end_to_end.harness import RunningDaemon, picture, until
from tests.end_to_end.senders import Camera, a_dealer, native_message

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

BURST = 16


@pytest.fixture
def configured(daemon: RunningDaemon) -> Iterator[RunningDaemon]:
    """The daemon, which has its own settings again at the end."""
    yield daemon
    configure(daemon, CAMERAS)
    assert daemon.reload()["result"] == "ok"


def configure(daemon: RunningDaemon, cameras: dict[str, int]) -> None:
    daemon.cameras = cameras
    daemon.lines = {line: LINES.get(line, {"deadline_ms": 10_000}) for line in sorted({*cameras.values()})}
    daemon.write_config()


@pytest.mark.parametrize("result", SPOILT)
def test_fault_15_a_bad_reload_changes_nothing_and_stops_no_frame(configured: RunningDaemon, result: str) -> None:
    spoilt, says = SPOILT[result]
    with (
        watched(configured) as witness,
        bystander(configured, witness),
        bystander(configured, witness, "top") as load,
    ):
        for _ in range(3):
            told = reload_spoilt(configured, spoilt)
            assert (told["result"], says in told["detail"]) == (result, True)
            load.reaches(len(load.answers) + 5)
    assert configured.total("config_reloads_total", result=result) >= 3
    assert says in configured.log.read_text()


def test_fault_15_lines_and_cameras_come_and_go_under_load_and_no_frame_is_lost(
    configured: RunningDaemon, tiny_scorer: core.Scorer
) -> None:
    daemon = configured
    with (
        watched(daemon) as witness,
        bystander(daemon, witness),
        bystander(daemon, witness, "top"),
        a_dealer(daemon) as sender,
    ):
        for turn in range(4):  # frames of "side" are under way each time it is taken out
            for seq in range(BURST):
                sender.send_multipart(native_message(seq, picture(seq), boot=f"reload-{turn}"))
            configure(daemon, {"top": 4, "other": 6, "late": 9})
            assert daemon.reload()["result"] == "ok"
            replies = [json.loads(sender.recv_multipart()[-1]) for _ in range(BURST)]
            for reply in replies:
                assert reply["status"] == "verdict" or reply["detail"] == "unknown camera 'side'"
            for verdict in (reply for reply in replies if reply["status"] == "verdict"):
                assert witness.heard(verdict)["reason"] is None
            configure(daemon, CAMERAS)
            assert daemon.reload()["result"] == "ok"


def test_fault_15_a_line_that_a_reload_added_is_enrolled_and_inspects(
    configured: RunningDaemon, tiny_scorer: core.Scorer
) -> None:
    daemon = configured
    configure(daemon, {**CAMERAS, "late": 9})
    with (
        watched(daemon) as witness,
        Camera(daemon, "late") as late,
        closing(Records(daemon.records_url)) as records,
    ):
        assert late.send_text(picture(1)) == b"ERR unknown camera 'late'"
        assert daemon.reload()["result"] == "ok"
        born = ("aprilgan_verdicts_total", (("line", "9"), ("verdict", "accept")))
        assert born in daemon.series()
        assert witness.heard(late.send(picture(1)))["reason"] == "no_bank"
        bank = enrol(daemon, records, tiny_scorer, 9)
        until(
            lambda: (daemon.page("statusz") or {})["lines"]["9"].get("bank") == bank,
            "the new line's bank",
        )
        assert witness.heard(late.send(picture(2)))["decision"] in {"accept", "review", "reject"}
        daemon.wait_for_worker()
