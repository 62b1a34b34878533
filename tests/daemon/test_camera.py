"""The small sender: it keeps its window, sends again what was not answered, and says what the line said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest

from daemon import camera
from daemon.exit_codes import ExitCode
from daemon.key_files import new_pair, write_pair
from daemon.link import FrameHeader
from daemon.native_sender import RESTARTED, NativeSender, Shot, WindowFull
from tests.daemon.ingress_rig import PIXELS, Rig, accept

Result = TypeVar("Result")
SHOT = Shot(payload=PIXELS, enc="raw", dtype="uint8", shape=(16, 16, 3), part="A7")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    life = Rig(tmp_path, window=5, retry_after_ms=5)
    yield life
    assert life.tally.conserved
    life.close()


@pytest.fixture
def sender(rig: Rig) -> Iterator[NativeSender]:
    native = NativeSender(rig.camera_socket.endpoint, "cam1", window=3, context=rig.context)
    yield native
    native.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(3)
    for name in ("a.png", "b.jpg", "c.png"):
        cv2.imwrite(str(pictures / name), random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (pictures / "notes.txt").write_text("no picture")
    return pictures


def meanwhile(rig: Rig, work: Callable[[], Result]) -> Result:
    """Turn while `work` runs in a thread of its own; its result."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(work)
        rig.until(future.done, "the end of the sender's work")
    return future.result()


def accept_everything(rig: Rig) -> None:
    def score(header: FrameHeader, payload: memoryview) -> bool:
        rig.worker.sent[header.key] = (header, bytes(payload))
        rig.worker.say(accept(header.key))
        return True

    rig.worker.send = score  # type: ignore[method-assign]


def test_the_window_is_two_until_the_service_tells_its_own(rig: Rig, sender: NativeSender) -> None:
    for _ in range(2):
        sender.send(SHOT)
    with pytest.raises(WindowFull):
        sender.send(SHOT)
    rig.until(lambda: rig.worker.sent)
    rig.worker.say(accept(next(iter(rig.worker.sent))))
    reply = meanwhile(rig, lambda: sender.receive(20))
    assert reply is not None
    assert (reply["decision"], reply["part"]) == ("accept", "A7")
    assert (reply["window"], sender.window) == (5, 3), "no more than it wants itself"
    assert sender.has_room


def test_a_busy_frame_is_sent_again_under_the_same_key_until_it_is_let_in(tmp_path: Path) -> None:
    rig = Rig(tmp_path, window=1, retry_after_ms=5)
    sender = NativeSender(rig.camera_socket.endpoint, "cam1", context=rig.context)
    for _ in range(2):
        sender.send(SHOT)
    rig.until(lambda: rig.tally.refusals)
    accept_everything(rig)
    rig.worker.say(*(accept(key) for key in rig.worker.sent))
    replies = meanwhile(rig, lambda: [sender.receive(20) for _ in range(2)])
    assert sorted(reply["seq"] for reply in replies if reply is not None) == [1, 2]
    assert len(rig.tally.verdicts) == 2
    assert sender.window == 1
    sender.close()
    rig.close()


def test_a_sender_that_hears_of_a_restart_sends_again_at_once(rig: Rig, sender: NativeSender) -> None:
    sender.send(SHOT)
    rig.until(lambda: rig.worker.sent)
    rig.until(
        lambda: rig.camera_socket.tell(next(iter(rig.ingress._in_flight.waiting())).waiters[0].route, RESTARTED)
    )
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(sender.receive, 20)
        rig.until(lambda: rig.tally.duplicates)
        rig.worker.say(accept(next(iter(rig.worker.sent))))
        rig.until(future.done)
    assert len(rig.tally.verdicts) == 1


def test_an_unanswered_frame_is_sent_again_and_inspected_once(
    rig: Rig, sender: NativeSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.native_sender.RESEND_AFTER_S", 0.01)
    sender.send(SHOT)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(sender.receive, 20)
        rig.until(lambda: rig.tally.duplicates)
        rig.worker.say(accept(next(iter(rig.worker.sent))))
        rig.until(future.done)
    assert len(rig.tally.verdicts) == 1


@pytest.mark.parametrize(
    ("flag", "encodings"), [([], ["png", "jpeg", "png"]), (["--raw"], ["raw"] * 3), (["--jpeg"], ["jpeg"] * 3)]
)
def test_the_command_sends_a_folder_and_prints_each_verdict(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str], flag: list[str], encodings: list[str]
) -> None:
    accept_everything(rig)
    arguments = [str(folder), "--camera", "cam1", "--connect", rig.camera_socket.endpoint, "--rate", "500", *flag]
    assert meanwhile(rig, lambda: camera.main(arguments)) == ExitCode.OK
    output = capsys.readouterr()
    assert [line.split("\t")[:2] for line in output.out.splitlines()] == [[part, "accept"] for part in "abc"]
    assert output.err == "3 accept\n"
    assert [header.encoding for header, _ in rig.worker.sent.values()] == encodings


def test_raw_and_file_show_the_worker_the_same_pixels(rig: Rig, folder: Path) -> None:
    shot = camera.load_shot(folder / "a.png", "raw")
    expected = cv2.imread(str(folder / "a.png"))[:, :, ::-1]
    np.testing.assert_array_equal(np.frombuffer(shot.payload, np.uint8).reshape(20, 30, 3), expected)


def test_a_refused_camera_ends_with_exit_code_1(
    rig: Rig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder), "--camera", "stranger", "--connect", rig.camera_socket.endpoint]
    assert meanwhile(rig, lambda: camera.main(arguments)) == ExitCode.REFUSED
    assert "unknown camera 'stranger'" in capsys.readouterr().out


def test_a_folder_without_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert camera.main([str(tmp_path), "--camera", "cam1"]) == ExitCode.REFUSED
    assert "expected pictures" in capsys.readouterr().err


def test_nobody_answering_ends_with_exit_code_69(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(camera, "PATIENCE_S", 0.05)
    arguments = [str(folder), "--camera", "cam1", "--connect", f"ipc://{folder}/nobody"]
    assert camera.main(arguments) == ExitCode.UNAVAILABLE
    assert "got no reply" in capsys.readouterr().err


def test_a_key_without_the_servers_is_wrong_usage(folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        camera.main([str(folder), "--camera", "cam1", "--key-file", "cam1.key_secret"])
    assert ended.value.code == ExitCode.USAGE


def test_key_files_that_are_none_are_refused_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public, secret = write_pair(tmp_path, "cam1", new_pair())
    (tmp_path / "damaged").write_bytes(b"public-key = nonsense")
    for server, own in (("absent", secret), ("damaged", secret), (public, public), (public, "damaged")):
        files = ["--server-key", str(tmp_path / server), "--key-file", str(tmp_path / own)]
        assert camera.main([str(folder), "--camera", "cam1", *files]) == ExitCode.REFUSED
        said = capsys.readouterr().err
        assert str(tmp_path) in said
        assert "nonsense" not in said
