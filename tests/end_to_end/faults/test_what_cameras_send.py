"""Faults 1-4, 10, 18 and 20: what comes in over the wire, from broken, careless and hostile senders."""

from __future__ import annotations

import json

import psutil
import pytest

from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.injections import (
    MALFORMED,
    SLOW_PEERS,
    bombs,
    corrupt_jpegs,
    malformed,
    oversize,
    replays,
    slow_handshakes,
)
from tests.end_to_end.faults.oracle import rows, watched
from tests.end_to_end.faults.plant import MAX_CONNECTIONS
from tests.end_to_end.harness import RunningDaemon, picture
from tests.end_to_end.senders import Camera

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


def test_fault_01_malformed_messages_are_refused_and_the_others_are_served(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness):
        refused = daemon.total("frames_refused_total")
        for message, answer in zip(MALFORMED, malformed(daemon), strict=True):
            assert answer.startswith(b"ERR ") or json.loads(answer)["status"] == "error", (message[:3], answer)
        assert daemon.total("frames_refused_total") == refused + len(MALFORMED)


def test_fault_02_corrupt_jpegs_are_uninspected(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness), Camera(daemon) as camera:
        for verdict in corrupt_jpegs(daemon):
            witness.knows_spoiled(verdict)
            assert (verdict["decision"], verdict["reason"]) == ("uninspected", "decode")
        assert witness.heard(camera.send(picture(8)))["decision"] != "uninspected"


def test_fault_03_bombs_are_refused_from_their_headers(daemon: RunningDaemon) -> None:
    worker = psutil.Process(daemon.wait_for_worker())
    with watched(daemon) as witness, bystander(daemon, witness):
        before = worker.memory_info().rss
        assert all(answer.startswith(b"ERR ") for answer in bombs(daemon))
        assert worker.memory_info().rss < before + 20 * 1024 * 1024


def test_fault_04_a_message_above_the_limit_is_refused_politely(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness):
        assert oversize(daemon).startswith(b"ERR ")


def test_fault_10_native_frames_replayed_twice_are_one_row_each(daemon: RunningDaemon) -> None:
    with watched(daemon) as witness, bystander(daemon, witness):
        first, *again = replays(daemon, "replay")
        assert again == [first, first]
        for reply in first.values():
            witness.heard(reply)
    assert len(rows(daemon, "key LIKE 'side:replay:%'")) == len(first)


def test_fault_18_connections_that_never_finish_their_handshake_delay_nobody_and_take_no_place(
    daemon: RunningDaemon,
) -> None:
    assert SLOW_PEERS > MAX_CONNECTIONS
    with watched(daemon) as witness, bystander(daemon, witness), slow_handshakes(daemon):
        refused = daemon.total("camera_connections_total", event="no_room")
        with Camera(daemon) as late:
            assert witness.heard(late.send(picture(1)))["reason"] is None
        assert daemon.total("camera_connections_total", event="no_room") == refused


@pytest.mark.parametrize(
    "name", ["../../../../etc/cron.d/x", "..", "top/../../x", "/etc/passwd", "top\x00x", "ｔop"]
)
def test_fault_20_a_path_in_the_senders_name_is_nobodys_name(daemon: RunningDaemon, name: str) -> None:
    with watched(daemon), Camera(daemon, name) as stranger:
        assert stranger.send_text(picture(1)).startswith(b"ERR ")


def test_fault_20_a_path_in_the_parts_name_stays_text(daemon: RunningDaemon) -> None:
    bad = 255 - picture(5, scratched=True)
    with watched(daemon) as witness, Camera(daemon) as camera:
        verdict = witness.heard(camera.send(bad, part="../../../etc/passwd"))
    heatmap = (daemon.state / verdict["heatmap"]).resolve()
    assert heatmap.is_relative_to((daemon.state / "heatmaps" / "4").resolve())
    assert rows(daemon, f"key = '{verdict['key']}'")[0]["part"] == "../../../etc/passwd"
