"""The daemon with `security = "curve"`, as its real processes: who comes in, who goes, and what is never said."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
import zmq

from daemon.exit_codes import ExitCode
from daemon.key_files import new_pair, read_pair, write_pair
from daemon.native_sender import RESTARTED, CurveKeys, NativeSender, Shot
from tests.end_to_end.faults.bystander import bystander
from tests.end_to_end.faults.oracle import rows, watched
from tests.end_to_end.harness import RunningDaemon, a_daemon, daemon_home, picture, until, write_pictures
from tests.end_to_end.senders import show
from tests.end_to_end.test_start_refused import minimal, start

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

CAMERAS = {"top": 4, "side": 5, "steady": 4, "gone": 4, "far": 5}
CURVE = '[heatmaps]\nkeep = "all"\n'
SILENCE_MS = 1500
"""So long nobody who is let in waits for an answer here."""


class Plant:
    """A secured daemon, and the files of keys beside it."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self.daemon = daemon
        self.keys = daemon.home / "keys"
        self.keys.mkdir()
        self.server = Path(daemon.admin("keys", "new", "--server", "--json")["public_file"])
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []

    def new(self, name: str, *options: str) -> CurveKeys:
        self.daemon.admin("keys", "new", name, *options, "--out", str(self.keys), "--json")
        return CurveKeys.load(self.server, self.keys / f"{name}.key_secret")

    def stranger(self, name: str = "stranger") -> CurveKeys:
        _, secret = write_pair(self.keys, name, new_pair())
        return CurveKeys.load(self.server, secret)

    def socket(self, kind: int, keys: CurveKeys | None, endpoint: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        if keys is not None:
            show(socket, keys)
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(endpoint)
        self.sockets.append(socket)
        return socket

    def camera(self, keys: CurveKeys | None) -> zmq.Socket[bytes]:
        return self.socket(zmq.DEALER, keys, self.daemon.ingest)

    def subscriber(self, keys: CurveKeys | None) -> zmq.Socket[bytes]:
        return self.socket(zmq.SUB, keys, self.daemon.publish)

    def hang_up(self) -> None:
        """Close what the test opened."""
        while self.sockets:
            self.sockets.pop().close(0)


def say(socket: zmq.Socket[bytes], flags: int = 0, **fields: Any) -> None:
    """One good JPEG frame of camera "top"."""
    header = {"v": 1, "camera": "top", "seq": 1, "enc": "jpeg"} | fields
    jpeg = simplejpeg.encode_jpeg(picture(1), colorspace="BGR")
    socket.send_multipart([b"", b"APG1", json.dumps(header).encode(), jpeg], flags)


def ask(socket: zmq.Socket[bytes], **fields: Any) -> dict[str, Any]:
    """The reply to it; who was silent for long may have been told RESTARTED before."""
    say(socket, **fields)
    body = RESTARTED
    while body == RESTARTED:
        assert socket.poll(20_000), "no reply"
        body = socket.recv_multipart()[-1]
    return dict(json.loads(body))


@pytest.fixture(scope="module")
def secured() -> Iterator[Plant]:
    lines = {4: {"deadline_ms": 10_000}, 5: {"deadline_ms": 10_000}}
    with a_daemon(cameras=CAMERAS, lines=lines, extra=CURVE) as daemon:
        daemon.environment |= {"APRILGAN_INGEST__SECURITY": "curve", "APRILGAN_LOG__LEVEL": "DEBUG"}
        plant = Plant(daemon)
        try:
            daemon.start()
            daemon.enroll(4, write_pictures(daemon.home / "good", range(4)), wait_s=60)
            yield plant
        finally:
            plant.hang_up()
            plant.context.term()


@pytest.fixture
def plant(secured: Plant) -> Iterator[Plant]:
    yield secured
    secured.hang_up()


@pytest.fixture
def home() -> Iterator[Path]:
    with daemon_home() as home:
        yield home


def test_keys_decide_who_is_inspected_and_each_change_counts_without_a_restart(plant: Plant) -> None:
    daemon = plant.daemon
    early = plant.stranger()
    knocking = plant.camera(early)
    say(knocking)
    plain = plant.camera(None)
    say(plain)
    top = plant.camera(plant.new("top"))  # the daemon has run for a while: no restart
    assert ask(top, part="../../../etc/passwd")["decision"] in ("accept", "reject", "review")
    assert not knocking.poll(SILENCE_MS)
    assert not plain.poll(0)

    refused = ask(top, camera="side", seq=2)
    assert (refused["status"], refused["reason"], refused["seq"]) == ("error", "not_authorized", 2)
    assert ask(top, line=5, seq=3)["reason"] == "wrong_line"
    assert daemon.total("frames_refused_total", camera="top", reason="not_authorized") == 1

    daemon.admin("keys", "revoke", "top")
    assert ask(top, seq=4)["reason"] == "not_authorized"  # on the connection that stands
    daemon.admin("keys", "authorize", "top", str(plant.keys / "stranger.key"))
    assert knocking.poll(20_000), "who knocked too early comes in once he is authorized"

    assert daemon.page("statusz")["security"] == {
        "mode": "curve", "camera_keys": 1, "subscriber_keys": 0, "fault": None
    }  # fmt: skip
    assert daemon.total("camera_connections_total", event="key_refused") >= 1
    until(daemon.conserves, "conservation")


def test_names_from_the_wire_stay_out_of_paths(plant: Plant) -> None:
    side = plant.camera(plant.new("side"))
    for name in ("../../etc", "/etc/passwd", "side/../top", "side\x00", "..", "side;line=4"):
        assert ask(side, camera=name)["reason"] == "unknown_camera"
    assert ask(side, camera="side", boot="../../x")["reason"] == "bad_header"
    assert ask(side, camera="side", part="../../../../tmp/x")["decision"] == "uninspected"
    state = plant.daemon.state.resolve()
    for row in plant.daemon.wait_for_rows(2):
        if row["heatmap_path"] is not None:
            assert (state / row["heatmap_path"]).resolve().is_relative_to(state / "heatmaps")
    assert not list(plant.daemon.home.parent.glob("etc*/passwd*"))


def test_a_header_nested_deeper_than_the_stack_costs_its_sender_alone(plant: Plant) -> None:
    knocking = plant.camera(CurveKeys.load(plant.server, plant.keys / "side.key_secret"))
    knocking.send_multipart([b"", b"APG1", b'{"a":' + b"[" * 700 + b"]" * 700 + b"}", b""])
    assert knocking.poll(20_000)
    assert json.loads(knocking.recv_multipart()[-1])["reason"] == "bad_header"
    assert ask(knocking, camera="side", seq=2)["decision"] == "uninspected"


def test_only_a_subscriber_with_a_key_hears_verdicts_and_only_until_it_is_revoked(plant: Plant) -> None:
    scada = plant.subscriber(plant.new("scada", "--subscriber"))
    spy = plant.subscriber(plant.new("spy", "--subscriber"))
    side_keys = CurveKeys.load(plant.server, plant.keys / "side.key_secret")
    deaf = [plant.subscriber(None), plant.subscriber(side_keys)]
    side = plant.camera(side_keys)

    def heard_by(*sockets: zmq.Socket[bytes]) -> bool:
        ask(side, camera="side")
        return all(socket.poll(100) for socket in sockets)

    until(lambda: heard_by(scada, spy), "verdicts at both subscribers")
    plant.daemon.admin("keys", "revoke", "spy", "--subscriber")
    until(lambda: not plant.daemon.page("statusz")["security"]["subscriber_keys"] > 1, "the revocation")
    ask(side, camera="side")  # by now the loop has turned everyone out
    for socket in (scada, spy):
        while socket.poll(200):
            socket.recv_multipart()
    until(lambda: heard_by(scada), "the one with a key comes back")
    assert not any(socket.poll(0) for socket in (spy, *deaf))


def test_a_damaged_list_of_keys_lets_nobody_new_in_and_says_so(plant: Plant) -> None:
    daemon = plant.daemon
    keys = CurveKeys.load(plant.server, plant.keys / "side.key_secret")
    inside = plant.camera(keys)
    ask(inside, camera="side")
    file = daemon.state / "keys" / "authorized.json"
    good = file.read_bytes()
    file.write_bytes(good[:-20])
    outside = plant.camera(keys)
    say(outside, camera="side", seq=9)
    assert not outside.poll(SILENCE_MS)
    assert ask(inside, camera="side", seq=2)["decision"] == "uninspected"
    assert not daemon.passes("keys")
    assert "is damaged" in daemon.page("statusz")["security"]["fault"]
    until(lambda: daemon.total("ready", reason="keys") == 0, "the metric")
    assert "nobody new comes in" in daemon.log.read_text()
    file.write_bytes(good)
    assert outside.poll(20_000)
    assert daemon.passes("keys")


def test_the_packaged_sender_works_with_its_key_files(plant: Plant) -> None:
    keys = CurveKeys.load(plant.server, plant.keys / "side.key_secret")
    sender = NativeSender(plant.daemon.ingest, "side", curve=keys, context=plant.context)
    try:
        sender.send(Shot(payload=simplejpeg.encode_jpeg(picture(3), colorspace="BGR"), enc="jpeg"))
        reply = sender.receive(20)
        assert reply is not None
        assert (reply["status"], reply["camera"]) == ("verdict", "side")
    finally:
        sender.close()


def test_fault_18_wrong_keys_and_keys_of_others_get_nothing_and_the_camera_beside_them_is_served(
    plant: Plant,
) -> None:
    daemon, steady, gone, far = plant.daemon, *(plant.new(name) for name in ("steady", "gone", "far"))
    with watched(daemon) as witness, bystander(daemon, witness, "steady", keys=steady):
        of_gone, of_far = plant.camera(gone), plant.camera(far)
        witness.heard(ask(of_gone, camera="gone"))
        daemon.admin("keys", "revoke", "gone")
        refused = daemon.total("camera_connections_total", event="key_refused")
        wrong = {
            "none": None,
            "nobody's": plant.stranger("intruder"),
            "for another server": replace(steady, server=far.public),
            "a subscriber's": plant.new("panel", "--subscriber"),
            "revoked": gone,
        }
        knocking = {name: plant.camera(keys) for name, keys in wrong.items()}
        for socket in knocking.values():
            with suppress(zmq.Again):  # who gave up already
                say(socket, zmq.NOBLOCK, camera="steady", part="intruder")

        told = {"standing, revoked": ask(of_gone, camera="gone"), "of another": ask(of_far, camera="steady")}
        told |= {
            "of another line": ask(of_far, camera="far", line=4),
            "in its own name": ask(of_far, camera="far"),
        }
        assert {name: reply["reason"] for name, reply in told.items()} == {
            "standing, revoked": "not_authorized",
            "of another": "not_authorized",
            "of another line": "wrong_line",
            "in its own name": "no_bank",
        }
        until(
            lambda: daemon.total("camera_connections_total", event="key_refused") >= refused + 3,
            "three keys to be refused; without the server's key a client gets no further than to itself",
        )
        assert not [name for name, socket in knocking.items() if socket.poll(0)]
    assert not [row for row in rows(daemon) if row["part"] == "intruder"]


def test_no_secret_is_in_any_output_and_every_secret_file_is_private(plant: Plant) -> None:
    """Last in this file: by now everything above has been logged at DEBUG."""
    daemon = plant.daemon
    secrets = [read_pair(path).secret for path in sorted(plant.keys.glob("*.key_secret"))]
    secrets.append(read_pair(daemon.state / "keys" / "server.key_secret").secret)
    assert len(secrets) >= 5
    said = [daemon.log.read_text(), json.dumps([daemon.page(page) for page in ("statusz", "readyz", "livez")])]
    said += [daemon.admin("keys", "list"), daemon.admin("keys", "list", "--json")]
    for text in map(str, said):
        assert not any(secret in text for secret in secrets)
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (daemon.state / "keys").glob("*secret"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in plant.keys.glob("*secret"))
    assert daemon.terminate() == ExitCode.OK


def test_curve_without_a_server_key_does_not_start_and_says_what_makes_one(home: Path) -> None:
    done = start(home, minimal(home), APRILGAN_INGEST__SECURITY="curve")
    assert done.returncode == ExitCode.CONFIG
    assert "aprilgan-admin keys new --server" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_key_that_others_may_read_does_not_start(home: Path) -> None:
    folder = home / "s" / "keys"
    folder.mkdir(parents=True)
    pair = new_pair()
    _, secret = write_pair(folder, "server", pair)
    secret.chmod(0o644)
    done = start(home, minimal(home), APRILGAN_INGEST__SECURITY="curve", APRILGAN_LOG__LEVEL="DEBUG")
    assert done.returncode == ExitCode.CONFIG
    assert "chmod 600" in done.stderr
    assert pair.secret not in done.stderr + done.stdout
