"""`enroll` without files: the next frames of a line, by the worker's own capture; shown, asked about, enrolled."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.admin import review
from daemon.admin.live_frames import await_frames, doubt
from daemon.captures import CapturedFrame, Captures
from daemon.clock import SystemClock
from daemon.flow import Encoding
from daemon.kept_frames import png_bytes
from daemon.link import FrameHeader, ScoredFrame
from daemon.records import Records
from daemon.source_pictures import SourcePictures
from daemon.work import QueuedFrame
from tests.daemon.admin.conftest import Answer, Installation, answering
from tests.pictures import weave

Admin = Callable[..., Answer]
READY = {"checks": {"worker": {"ok": True, "detail": "ready"}}}


def frame(seed: int) -> QueuedFrame:
    """A frame of line 4 as the worker holds it."""
    image = weave(seed)
    header = FrameHeader(
        key=f"cam4:b:{seed}",
        line=4,
        camera="cam4",
        encoding=Encoding.PNG,
        dtype="uint8",
        shape=image.shape,
        color="rgb",
        received_ns=0,
        deadline_ns=0,
    )
    return QueuedFrame(header=header, image=image, payload=memoryview(png_bytes(image)), queued_ns=0)


class Running:
    """A daemon as far as live capture sees it: its pages, and the worker's side of captures under frames."""

    def __init__(self, installation: Installation, *, frames: int) -> None:
        self._captures = Captures(installation.state, SystemClock())
        self._requests = installation.state / "captures" / "4"
        self._frames = frames
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        taken = 0
        while not self._ended.wait(0.02) and taken < self._frames:
            scored = ScoredFrame(key=f"cam4:b:{taken}", decision="uninspected", reason="no_bank")
            before = self._captured()
            self._captures.offer(frame(taken), scored)
            taken += self._captured() > before

    def _captured(self) -> int:
        """Whole frames there. Folders come and go meanwhile, which os.walk passes over and glob does not."""
        names = [name for _, _, files in os.walk(self._requests) for name in files]
        return sum(name[0].isdigit() and name.endswith(".json") for name in names)


@pytest.fixture
def run(admin: Admin, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run a command beside a daemon whose line 4 brings that many frames."""

    def command(*arguments: object, frames: int = 99) -> Answer:
        with answering(lambda: (200, READY)) as address, Running(installation, frames=frames):
            monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
            return admin(*arguments)

    return command


@contextmanager
def a_person_who_types(monkeypatch: pytest.MonkeyPatch, *answers: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(review, "at_a_terminal", lambda: True)
        patch.setattr("sys.stdin", io.StringIO("\n".join(answers) + "\n"))
        yield


def test_a_line_is_enrolled_from_its_next_frames_each_shown_as_it_comes(
    run: Callable[..., Answer], installation: Installation, records: Records
) -> None:
    answer = run("enroll", "--line", 4, "--shots", 5, "--yes", "--why", "new loom")
    assert answer.code == 0, answer.err
    bank = records.banks(line=4)[0]
    assert bank.shots == 5
    assert "  5/5  cam4  cam4:b:4  64x48  sharpness" in answer.err
    assert "no bank yet" in answer.err
    assert (records.changes(4)[0].action, records.changes(4)[0].why) == ("enroll", "new loom")
    assert not any((installation.state / "captures" / "4").iterdir())
    kept = SourcePictures(installation.state, bank.product)
    assert len(list(kept.folder.iterdir())) == 5


def test_a_person_leaves_samples_out_by_number_and_then_says_yes(
    run: Callable[..., Answer], records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_person_who_types(monkeypatch, "9", "2, 4", "y"):
        answer = run("enroll", "--line", 4, "--shots", 6)
    assert answer.code == 0, answer.err
    assert "expected numbers from 1 to 6, got 9" in answer.err
    assert "Contact sheet:" in answer.err
    rows = run("banks", "show", "--line", 4, "--json").json["samples"]
    assert [row["name"] for row in rows] == ["cam4:b:0", "cam4:b:2", "cam4:b:4", "cam4:b:5"]


def test_a_person_who_says_no_leaves_everything_as_it_was(
    run: Callable[..., Answer], installation: Installation, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_person_who_types(monkeypatch, ""):
        answer = run("enroll", "--line", 4, "--shots", 4)
    assert answer.code == 1
    assert "nothing was stored" in answer.err
    assert records.lines() == []
    assert not any((installation.state / "captures" / "4").iterdir())


def test_a_frame_that_the_present_bank_would_stop_is_doubted() -> None:
    said = CapturedFrame(
        path=Path("000.png"),
        key="cam4:b:0",
        camera="cam4",
        decision="reject",
        reason=None,
        score=3.05,
        threshold=2.52,
        width=64,
        height=48,
    )
    assert "not accepted by the present bank (score 3.05, reject above 2.52)" in str(doubt(said))
    assert doubt(replace(said, decision="accept", score=1.0)) is None
    assert doubt(replace(said, decision="uninspected", score=None, threshold=None)) is None


def test_a_doubt_stands_among_the_warnings_where_the_product_stays_the_same(
    run: Callable[..., Answer], installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("enroll", "--line", 4, installation.good).code == 0
    monkeypatch.setattr("daemon.admin.live_frames.doubt", lambda frame: "was not accepted by the present bank")
    same = run("enroll", "--line", 4, "--shots", 4, "--dry-run", "--json").json["warnings"]
    assert sum("was not accepted by the present bank" in warning for warning in same) == 4
    other = run("enroll", "--line", 4, "--shots", 4, "--product", "silk", "--dry-run", "--json").json["warnings"]
    assert not any("present bank" in warning for warning in other)


def test_a_line_that_falls_silent_is_enrolled_from_what_came_and_says_so(
    run: Callable[..., Answer], records: Records
) -> None:
    answer = run("enroll", "--line", 4, "--shots", 8, "--yes", "--timeout", 2, frames=3)
    assert answer.code == 0, answer.err
    assert "fell silent for 2 s: 3 of 8 frames came" in answer.err
    assert records.banks(line=4)[0].shots == 3


def test_a_silent_line_is_unavailable_and_its_cameras_are_named(
    run: Callable[..., Answer], records: Records
) -> None:
    answer = run("enroll", "--line", 4, "--yes", "--timeout", 0.1, frames=0)
    assert answer.code == 69
    assert "line 4 brought no frame in 0.1 s (its cameras are cam4)" in answer.err
    assert records.lines() == []


def test_without_a_running_daemon_there_are_no_live_frames(admin: Admin, installation: Installation) -> None:
    answer = admin("enroll", "--line", 4, "--yes")
    assert answer.code == 69
    assert "no daemon answers at 127.0.0.1:9" in answer.err
    assert not (installation.state / "captures").exists()


def test_a_daemon_whose_worker_still_loads_has_no_live_frames(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = {"checks": {"worker": {"ok": False, "detail": "loading"}}}
    with answering(lambda: (503, loading)) as address:
        monkeypatch.setenv("APRILGAN_HTTP__BIND", address)
        answer = admin("enroll", "--line", 4, "--yes")
    assert answer.code == 69
    assert "loading" in answer.err


def test_waiting_ends_by_silence_and_not_by_the_whole_time() -> None:
    """Ten frames, each 9 s after the one before, outlast a silence of 10 s."""
    now = [0.0]

    class Slow:
        def arrived(self) -> list[Any]:
            return [object()] * int(now[0] // 9)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    taken: list[CapturedFrame] = []
    await_frames(Slow(), 10, silence_s=10.0, take=taken.append, clock=lambda: now[0], sleep=sleep)
    assert len(taken) == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y", review.Answer(go_on=True)),
        (" Yes ", review.Answer(go_on=True)),
        ("", review.Answer()),
        ("n", review.Answer()),
        ("3,5", review.Answer(dropped=frozenset({3, 5}))),
        ("3 5, 3", review.Answer(dropped=frozenset({3, 5}))),
    ],
)
def test_answers_are_understood(text: str, expected: review.Answer) -> None:
    assert review.parse_answer(text, 8) == expected


@pytest.mark.parametrize("text", ["0", "9", "maybe", "3;5", "-1", "1,2,3,4,5,6,7,8", "3,,x"])
def test_what_is_no_answer_is_asked_again(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|nothing would be left"):
        review.parse_answer(text, 8)
