"""The finisher: pictures are durable before their verdicts leave, and captures get theirs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import zmq

from core.image import decode_image
from daemon.answers import uninspected
from daemon.captures import CaptureRequest, Captures
from daemon.evidence import Evidence
from daemon.finisher import Finisher
from daemon.flow import UninspectedReason
from daemon.kept_frames import KeepRule
from daemon.link import ScoredBatch, unpack_upward
from daemon.status_board import StatusBoard
from daemon.work import Answer, Answers, QueuedFrame
from tests.daemon.fake_scorer import FakeScorer, frame, line_bank
from tests.daemon.worker_parts import CLOCK, PATIENCE_MS, Out, StagedBanks, board, fill, queue, scoring_loop


def finisher(context: Any, state: Any, port: int, board: StatusBoard) -> Finisher:
    keep = KeepRule.of(frozenset({"reject"}), accept_every=2)
    return Finisher(
        worker=0,
        life=1,
        evidence=Evidence(state=state, keep=keep, board=board, clock=CLOCK),
        captures=Captures(state, CLOCK),
        context=context,
        endpoint=f"tcp://127.0.0.1:{port}",
        clock=CLOCK,
    )


def answers_of(*frames: QueuedFrame) -> list[Answer]:
    """What the loop makes of frames on an enrolled line."""
    waiting, banks, out = queue(), StagedBanks(), Out()
    banks.staged.append(line_bank())
    fill(waiting, *frames)
    scoring_loop(FakeScorer(), waiting, banks, out).turn()
    return [answer for answers in out for answer in answers.answers]


def receive(upward: zmq.Socket[bytes]) -> ScoredBatch:
    assert upward.poll(PATIENCE_MS)
    message = unpack_upward(upward.recv())
    assert isinstance(message, ScoredBatch)
    return message


def test_a_heatmap_lies_on_disk_before_its_verdict_leaves_and_holds_up_no_other(context, tmp_path):
    upward, told = context.socket(zmq.PULL), board()
    out = finisher(context, tmp_path, upward.bind_to_random_port("tcp://127.0.0.1"), told)
    out.start()
    out.put(Answers(answers=tuple(answers_of(frame("bad", 250), frame("good", 10)))))
    first, second = receive(upward), receive(upward)
    assert [item.key for item in first.frames] == ["good"]
    assert [item.key for item in second.frames] == ["bad"]
    assert second.frames[0].heatmap is not None
    assert (tmp_path / second.frames[0].heatmap).is_file()
    out.stop()
    upward.close(0)


def test_a_verdict_that_is_nearly_late_goes_without_its_heatmap(context, tmp_path):
    upward, told = context.socket(zmq.PULL), board()
    out = finisher(context, tmp_path, upward.bind_to_random_port("tcp://127.0.0.1"), told)
    (answer,) = answers_of(frame("bad", 250))
    assert answer.heat is not None
    out.start()
    late = replace(answer, heat=replace(answer.heat, deadline_ns=CLOCK.monotonic_ns()))
    out.put(Answers(answers=(late,)))
    told_frame = receive(upward).frames[0]
    assert (told_frame.decision, told_frame.heatmap, told_frame.no_heatmap) == ("reject", None, "late")
    out.stop()
    upward.close(0)


def test_a_disk_that_refuses_costs_the_heatmap_and_never_the_verdict(context, tmp_path):
    (tmp_path / "heatmaps").write_bytes(b"a file where the folder should be")
    upward, told = context.socket(zmq.PULL), board()
    out = finisher(context, tmp_path, upward.bind_to_random_port("tcp://127.0.0.1"), told)
    out.start()
    out.put(Answers(answers=tuple(answers_of(frame("bad", 250)))))
    told_frame = receive(upward).frames[0]
    assert (told_frame.decision, told_frame.heatmap, told_frame.no_heatmap) == ("reject", None, "disk")
    out.stop()
    upward.close(0)
    assert told.status(StagedBanks().status()).heatmaps == {"failed": 1}


def test_the_picture_of_a_rejected_part_and_every_nth_accepted_one_is_kept_as_it_was_scored(context, tmp_path):
    upward = context.socket(zmq.PULL)
    out = finisher(context, tmp_path, upward.bind_to_random_port("tcp://127.0.0.1"), board())
    out.start()
    frames = [frame("bad", 250), *(frame(f"good-{number}", 10 + number) for number in range(4))]
    out.put(Answers(answers=tuple(answers_of(*frames))))
    told = {item.key: item for _ in range(2) for item in receive(upward).frames}
    assert {key for key, item in told.items() if item.frame is not None} == {"bad", "good-1", "good-3"}
    for item in frames:
        path = told[item.header.key].frame
        if path is not None:
            assert np.array_equal(decode_image((tmp_path / path).read_bytes(), max_pixels=10_000), item.image)
    out.stop()
    upward.close(0)


def test_a_capture_request_gets_the_next_frames_of_its_line_with_what_was_said_of_them(context, tmp_path):
    upward = context.socket(zmq.PULL)
    out = finisher(context, tmp_path, upward.bind_to_random_port("tcp://127.0.0.1"), board())
    in_an_hour = CLOCK.now() + timedelta(hours=1)
    with CaptureRequest(tmp_path, 4, 2, expires_at=in_an_hour) as wanted:
        out.start()
        unenrolled = uninspected(frame("a").header, UninspectedReason.NO_BANK, "no bank", frame=frame("a", 7))
        other_line = uninspected(frame("b").header, UninspectedReason.NO_BANK, "no bank", frame=frame("b", line=5))
        scored = answers_of(frame("c", 250), frame("d", 10))
        out.put(Answers(answers=(unenrolled, other_line, *scored)))
        out.stop()
        first, second = wanted.arrived()
        assert (first.key, first.decision, first.reason) == ("a", "uninspected", "no_bank")
        assert (second.key, second.decision, second.score) == ("c", "reject", 250.0)
        assert np.array_equal(decode_image(first.path.read_bytes(), max_pixels=10_000), frame("a", 7).image)
    assert not wanted.folder.exists()
    upward.close(0)


def test_a_capture_whose_asker_was_killed_expires_and_is_swept(tmp_path):
    wanted = CaptureRequest(tmp_path, 4, 2, expires_at=CLOCK.now())
    captures = Captures(tmp_path, CLOCK)
    (answer,) = answers_of(frame("late"))
    captures.offer(frame("late"), answer.scored)
    assert not wanted.folder.exists()


def test_a_capture_request_that_cannot_be_read_stops_no_other(tmp_path):
    broken = CaptureRequest(tmp_path, 4, 1, expires_at=CLOCK.now() + timedelta(hours=1))
    (broken.folder / "request.json").write_text("[]")
    with CaptureRequest(tmp_path, 4, 1, expires_at=CLOCK.now() + timedelta(hours=1)) as wanted:
        (answer,) = answers_of(frame("one"))
        Captures(tmp_path, CLOCK).offer(frame("one"), answer.scored)
        assert [item.key for item in wanted.arrived()] == ["one"]


def test_a_worker_that_takes_over_a_capture_goes_on_where_its_predecessor_died(tmp_path):
    with CaptureRequest(tmp_path, 4, 3, expires_at=CLOCK.now() + timedelta(hours=1)) as wanted:
        first, *rest = [frame(name, value) for name, value in zip("abcd", (10, 20, 30, 40), strict=True)]
        Captures(tmp_path, CLOCK).offer(first, answers_of(first)[0].scored)
        (wanted.folder / "001.png").write_bytes(b"it died before the JSON")
        successor = Captures(tmp_path, CLOCK)
        for each in rest:
            successor.offer(each, answers_of(each)[0].scored)
        assert [item.key for item in wanted.arrived()] == ["a", "b", "c"]
        assert [item.path.stem for item in wanted.arrived()] == ["000", "002", "003"]
        pictures = [decode_image(item.path.read_bytes(), max_pixels=10_000) for item in wanted.arrived()]
        assert np.array_equal(pictures[0], first.image)
        assert np.array_equal(pictures[1], rest[0].image)
