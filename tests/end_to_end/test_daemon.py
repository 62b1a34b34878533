"""The daemon as its real processes: frames go in over ZeroMQ, verdicts come out, none goes missing."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import simplejpeg
import zmq

from daemon.exit_codes import ExitCode
from daemon.native_sender import NativeSender, Shot
from tests.end_to_end.harness import (
    RunningDaemon,
    a_daemon,
    alive,
    picture,
    until,
    write_pictures,
)
from tests.end_to_end.senders import Camera, Load, a_dealer, exchange, native_message
from tests.ports import free_ports

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

CAMERAS = {"top": 4, "side": 4, "blank": 5}
LINES: dict[int, dict[str, Any]] = {4: {"deadline_ms": 10_000}, 5: {"deadline_ms": 10_000}}
REFERENCES = range(8)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("good"), REFERENCES)


@pytest.fixture(scope="module")
def enrolled(references: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which line 4 was enrolled by the real command, with no daemon running."""
    kept = tmp_path_factory.mktemp("enrolled") / "state"
    with a_daemon(cameras=CAMERAS, lines=LINES) as daemon:
        daemon.enroll(4, references, "--product", "weave", wait_s=0)
        shutil.copytree(daemon.state, kept)
    return kept


@pytest.fixture(scope="module")
def daemon(enrolled: Path) -> Iterator[RunningDaemon]:
    """One running daemon for the tests that leave it as they found it."""
    with a_daemon(cameras=CAMERAS, lines=LINES, state=enrolled) as daemon:
        yield daemon.start()


def test_a_stock_senders_raw_frame_gets_one_verdict_in_its_reply_on_the_stream_and_in_sql(
    daemon: RunningDaemon,
) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as stream, Camera(daemon) as camera:
        stream.setsockopt(zmq.RCVTIMEO, 60_000)
        stream.setsockopt(zmq.LINGER, 0)
        stream.subscribe(b"verdict.4.")
        stream.connect(daemon.publish)
        # a subscription takes a moment to arrive: send until the stream has one of ours
        answers: dict[str, dict[str, Any]] = {}

        def send_and_look() -> dict[str, Any] | None:
            answer = camera.send(picture(1000), part="A1", seq=7)
            answers[answer["key"]] = answer
            if not stream.poll(200):
                return None
            topic, body = stream.recv_multipart()
            assert topic == b"verdict.4."
            return dict(json.loads(body))

        published = until(send_and_look, "a published verdict")
    answer = answers[published["key"]]
    assert published == answer
    assert answer["decision"] in {"accept", "review", "reject"}
    assert (answer["line"], answer["camera"], answer["part"], answer["seq"]) == (4, "top", "A1", 7)
    assert answer["product"] == "weave"
    assert answer["threshold_state"] == "provisional"
    (row,) = daemon.wait_for_rows(1, f"key = '{answer['key']}'")
    assert row["decision"] == answer["decision"]
    assert row["score"] == answer["score"]
    assert row["bank_sha256"].startswith(answer["bank"])


def test_a_jpeg_gets_a_verdict_and_a_rejected_part_leaves_a_heatmap(daemon: RunningDaemon) -> None:
    with Camera(daemon, "side") as camera:
        good = camera.send_jpeg(picture(1001))
        bad = camera.send_jpeg(255 - picture(1002, scratched=True))
    assert good["decision"] in {"accept", "review", "reject"}
    assert bad["decision"] == "reject"
    assert bad["score"] > bad["threshold"]
    assert (daemon.state / bad["heatmap"]).read_bytes().startswith(b"\x89PNG")


def test_a_part_of_a_line_without_a_bank_is_uninspected_never_accepted(daemon: RunningDaemon) -> None:
    with Camera(daemon, "blank") as camera:
        answer = camera.send(picture(1003))
    assert (answer["decision"], answer["reason"], answer["score"]) == ("uninspected", "no_bank", None)
    ready = daemon.page("readyz")
    assert ready is not None
    assert not ready["ok"]
    assert "line 5" in ready["checks"]["banks"]["detail"]
    assert daemon.passes("worker")


def test_an_unknown_camera_is_refused_and_nobody_else_notices(daemon: RunningDaemon) -> None:
    before = daemon.total("frames_refused_total", camera="unknown", reason="unknown_camera")
    with Camera(daemon, "../../etc/passwd") as stranger, Camera(daemon) as camera:
        assert stranger.send_text(picture(1)).startswith(b"ERR unknown camera")
        assert camera.send(picture(1004))["decision"] != "uninspected"
    assert daemon.total("frames_refused_total", camera="unknown", reason="unknown_camera") == before + 1


def test_a_damaged_jpeg_is_uninspected_and_says_so(daemon: RunningDaemon) -> None:
    data = simplejpeg.encode_jpeg(picture(1005), quality=95, colorspace="BGR")
    with zmq.Context() as context, context.socket(zmq.REQ) as sender:
        sender.setsockopt(zmq.RCVTIMEO, 60_000)
        sender.setsockopt(zmq.LINGER, 0)
        sender.connect(daemon.ingest)
        sender.send_multipart([json.dumps({"msg": "top"}).encode(), data[: len(data) // 2] + b"\xff\xd9"])
        answer = json.loads(sender.recv())
    assert (answer["decision"], answer["reason"]) == ("uninspected", "decode")


def test_every_frame_of_several_cameras_is_answered_recorded_and_conserved(daemon: RunningDaemon) -> None:
    received = daemon.total("frames_received_total")
    answered = daemon.total("verdicts_total")
    with Load(daemon, ["top", "side", "blank"]) as load:
        load.reaches(60)
        answers = load.finish()
    assert len(load.verdicts()) == len(answers)
    assert daemon.total("frames_received_total") == received + len(answers)
    assert daemon.total("verdicts_total") == answered + len(answers)
    until(daemon.conserves, "conservation")
    assert_recorded_once(daemon, load.verdicts())


def test_a_native_senders_replay_gets_the_first_verdict_again_and_no_second_row(daemon: RunningDaemon) -> None:
    duplicates = daemon.total("frames_duplicate_total", camera="side")
    rows = len(daemon.rows("camera = 'side'"))
    shots = [native_message(seq, picture(2000 + seq)) for seq in range(10)]
    with a_dealer(daemon) as sender:
        first = [exchange(sender, shot) for shot in shots]
        second = [exchange(sender, shot) for shot in shots]
        forged = exchange(sender, native_message(0, picture(3000)))
    assert [reply["status"] for reply in first] == ["verdict"] * 10
    assert second == first
    assert forged["status"] == "error"
    assert "key reused" in json.dumps(forged)
    assert daemon.total("frames_duplicate_total", camera="side") == duplicates + 10
    assert len(daemon.wait_for_rows(rows + 10, "camera = 'side'")) == rows + 10


def test_the_packaged_sender_keeps_its_window_full_and_every_frame_is_answered(daemon: RunningDaemon) -> None:
    with zmq.Context() as context:
        sender = NativeSender(daemon.ingest, "side", window=3, context=context)
        replies = []
        for seed in range(12):
            if not sender.has_room:
                replies.append(sender.receive(10))
            image = picture(4000 + seed)
            sender.send(Shot(payload=image.tobytes(), enc="raw", dtype="uint8", shape=image.shape, color="bgr"))
        while sender.unanswered:
            replies.append(sender.receive(10))
        sender.close()
    assert sorted(reply["seq"] for reply in replies if reply) == list(range(1, 13))
    assert {reply["status"] for reply in replies if reply} == {"verdict"}
    until(daemon.conserves, "conservation")


def test_a_second_daemon_on_the_same_state_folder_gives_way(daemon: RunningDaemon) -> None:
    other = daemon.home / "other.toml"
    text = daemon.config.read_text()
    for old, new in zip(daemon.ports, free_ports(3), strict=True):
        text = text.replace(str(old), str(new))
    other.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--config", str(other)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "another aprilgan-daemon" in done.stderr
    with Camera(daemon) as camera:
        assert camera.send(picture(1006))["decision"] != "uninspected"
    assert daemon.total("redis_up") == 1


def test_a_line_enrolled_again_switches_banks_between_frames_without_a_restart(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    worker = daemon.wait_for_worker()
    with Camera(daemon) as camera:
        before = camera.send(picture(1007))
        enrolled = daemon.enroll(4, write_pictures(tmp_path / "new", range(20, 28)), "--product", "twill")
        after = camera.send(picture(1007))
    assert (before["product"], after["product"]) == ("weave", "twill")
    assert before["bank"] != after["bank"]
    assert enrolled["bank"].startswith(after["bank"])
    assert daemon.wait_for_worker() == worker


def test_a_killed_embedded_server_is_started_again_and_no_frame_waits_for_it(daemon: RunningDaemon) -> None:
    worker = daemon.wait_for_worker()
    server = until(daemon.redis_server, "the server")
    server.kill()
    with Camera(daemon) as camera:
        assert camera.send(picture(1008))["decision"] != "uninspected"
    until(lambda: daemon.redis_server(but=server), "a new server")
    until(lambda: daemon.total("redis_up") == 1, "Redis to answer again")
    assert daemon.wait_for_worker() == worker


def test_a_worker_killed_under_load_costs_only_the_frames_it_held(daemon: RunningDaemon) -> None:
    worker = daemon.wait_for_worker()
    with Load(daemon, ["top", "side"]) as load:
        load.reaches(20)
        os.kill(worker, signal.SIGKILL)
        successor = daemon.wait_for_worker(other_than=worker)
        load.reaches(len(load.answers) + 20)
        answers = load.finish()
    assert successor != worker
    reasons = Counter(verdict["reason"] for verdict in load.verdicts())
    assert len(load.verdicts()) == len(answers)
    assert set(reasons) <= {None, "worker_lost", "deadline", "no_bank"}
    until(daemon.conserves, "conservation")
    assert_recorded_once(daemon, load.verdicts())
    assert daemon.total("worker_restarts_total", reason="exited") == 1


def test_sigterm_under_load_answers_everyone_records_everything_and_exits_0(enrolled: Path) -> None:
    with (
        a_daemon(cameras=CAMERAS, lines=LINES, state=enrolled) as daemon,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(daemon.home / "notify"))
        manager.setblocking(False)
        daemon.environment["NOTIFY_SOCKET"] = manager.getsockname()
        worker = daemon.start().wait_for_worker()
        told: list[str] = []
        with Load(daemon, ["top", "side"]) as load:
            load.reaches(30)
            until(lambda: told.extend(heard(manager)) or "WATCHDOG" in told, "READY, then WATCHDOG")
            exit_code = daemon.terminate()
            answers = load.finish()
        assert exit_code == ExitCode.OK, daemon.log.read_text()[-4000:]
        assert sum(answer == b"BUSY restart" for answer in answers) + len(load.verdicts()) == len(answers)
        recorded = {row["key"]: row["decision"] for row in daemon.rows()}
        assert {verdict["key"]: verdict["decision"] for verdict in load.verdicts()} == recorded
        assert not alive(worker)
        assert list((daemon.state / "run").iterdir()) == []
        told.extend(heard(manager))
        assert told[0] == "EXTEND_TIMEOUT_USEC"
        assert told[-1] == "STOPPING"
        assert told.count("READY") == 1
        assert told.index("READY") < told.index("WATCHDOG")


def test_frames_in_flight_when_the_daemon_is_killed_become_uninspected_restart() -> None:
    with a_daemon(lines={4: {"deadline_ms": 60_000}}) as daemon:
        daemon.launch()
        until(lambda: daemon.page("livez"), "the pages")
        senders = _send_and_do_not_wait(daemon, 3)
        until(lambda: daemon.total("in_flight") == 3, "three frames in flight")
        orphans = _children(daemon)
        assert len(orphans) == 2
        daemon.kill()
        until(lambda: not any(alive(pid) for pid in orphans), "the children to die with it")
        daemon.launch()
        rows = until(lambda: _rows_if_any(daemon, 3), "three rows")
        assert {(row["decision"], row["reason"]) for row in rows} == {("uninspected", "restart")}
        until(lambda: daemon.page("livez"), "the pages")
        assert daemon.total("recovered_total") == 3
        assert daemon.total("uninspected_total", line="4", reason="restart") == 3
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == ExitCode.OK
        for sender in senders:
            sender.close(0)


def assert_recorded_once(daemon: RunningDaemon, verdicts: list[dict[str, Any]]) -> None:
    """SQL has one row for each verdict of this life, and it says what the sender was told."""
    rows = daemon.wait_for_rows(int(daemon.total("verdicts_total")))
    assert len({row["key"] for row in rows}) == len(rows) == daemon.total("verdicts_total")
    recorded = {row["key"]: row["decision"] for row in rows}
    assert {verdict["key"]: verdict["decision"] for verdict in verdicts}.items() <= recorded.items()


def heard(manager: socket.socket) -> Iterator[str]:
    """The first word of each datagram that waits."""
    while select.select([manager], [], [], 0)[0]:
        yield manager.recv(4096).decode().split("=")[0]


def _send_and_do_not_wait(daemon: RunningDaemon, count: int) -> list[zmq.Socket[bytes]]:
    senders = []
    for seed in range(count):
        sender = zmq.Context.instance().socket(zmq.REQ)
        sender.setsockopt(zmq.LINGER, 0)
        sender.setsockopt(zmq.RECONNECT_IVL, -1)
        sender.connect(daemon.ingest)
        image = picture(seed)
        header = {"msg": "top", "dtype": "uint8", "shape": image.shape}
        sender.send_multipart([json.dumps(header).encode(), image.tobytes()])
        senders.append(sender)
    return senders


def _children(daemon: RunningDaemon) -> list[int]:
    """The living children of the main process: worker and embedded server."""
    assert daemon.process is not None
    return [child.pid for child in psutil.Process(daemon.process.pid).children() if alive(child.pid)]


def _rows_if_any(daemon: RunningDaemon, count: int) -> list[dict[str, Any]] | None:
    rows = daemon.rows()
    return rows if len(rows) == count else None
