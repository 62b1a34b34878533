"""The life of a frame in ingress: answered once, durable before it is acknowledged, never guessed."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from daemon.cameras import Camera, CameraDirectory
from daemon.flow import RawFrame, RefusalReason
from daemon.ingress import MESSAGES_AT_ONCE
from daemon.outbox import OutboxReader, OutboxUnavailable
from tests.daemon.ingress_rig import PIXELS, Rig, accept, native, reject, stock

OTHER_PIXELS = bytes(reversed(PIXELS))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    life = Rig(tmp_path)
    yield life
    life.close()


def only_key(rig: Rig) -> str:
    (key,) = rig.worker.sent
    return key


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ])
def test_a_native_sender_gets_the_verdict_of_its_frame(rig: Rig, kind: int) -> None:
    peer = rig.peer(kind)
    rig.take_in(peer, native(delimiter=kind == zmq.DEALER, part="A7", line=4))
    assert only_key(rig) == "cam1:b1:1"
    rig.worker.say(accept("cam1:b1:1"))
    reply = rig.json_reply(peer)
    assert (reply["status"], reply["decision"], reply["seq"], reply["part"]) == ("verdict", "accept", 1, "A7")
    assert rig.tally.conserved


def test_the_worker_gets_the_pixels_untouched_and_the_deadline(rig: Rig) -> None:
    rig.take_in(rig.peer(), native(deadline_ms=100))
    header, payload = rig.worker.sent["cam1:b1:1"]
    assert payload == PIXELS
    assert (header.line, header.color, header.shape) == (4, "bgr", (16, 16, 3))
    assert header.deadline_ns - header.received_ns == 100_000_000


def test_a_sender_cannot_ask_for_more_time_than_its_line_has(rig: Rig) -> None:
    rig.take_in(rig.peer(), native(deadline_ms=60_000))
    header, _ = rig.worker.sent["cam1:b1:1"]
    assert header.deadline_ns - header.received_ns == 500_000_000


def test_a_frame_without_a_boot_gets_a_key_of_its_own(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native(boot=None))
    rig.take_in(peer, native(boot=None))
    assert len(rig.worker.sent) == 2
    assert all(len(key) == 26 for key in rig.worker.sent)


def test_the_row_is_durable_before_the_frame_leaves_and_the_verdict_before_the_reply(
    rig: Rig, tmp_path: Path
) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    assert [frame.key for frame in rig.outbox.pending()] == ["cam1:b1:1"]
    rig.worker.say(accept("cam1:b1:1"))
    rig.reply(peer)
    reader = OutboxReader(tmp_path / "outbox.db")
    assert [stored.verdict.key for stored in reader.after(0, limit=10)] == ["cam1:b1:1"]
    reader.close()
    assert rig.outbox.pending() == []


def test_a_frame_whose_deadline_comes_is_uninspected_and_its_late_answer_changes_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.clock.advance(501)
    reply = rig.json_reply(peer)
    assert (reply["decision"], reply["reason"]) == ("uninspected", "deadline")
    late = tmp_path / "heatmaps" / "4" / "late.png"
    late.parent.mkdir(parents=True)
    late.write_bytes(b"png")
    rig.worker.say(reject("cam1:b1:1", heatmap="heatmaps/4/late.png"))
    rig.until(lambda: rig.tally.conflicts)
    assert not late.exists()
    verdict = rig.outbox.find("cam1:b1:1")
    assert verdict is not None
    assert verdict.reason == "deadline"
    assert len(rig.tally.verdicts) == 1


def test_an_equal_late_answer_is_no_conflict_and_keeps_the_first_heatmap(rig: Rig, tmp_path: Path) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    kept = tmp_path / "heatmaps" / "4" / "first.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"png")
    answer = reject("cam1:b1:1", heatmap="heatmaps/4/first.png")
    rig.worker.say(answer, answer)
    assert rig.json_reply(peer)["heatmap"] == "heatmaps/4/first.png"
    assert kept.exists()
    assert rig.tally.conflicts == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (replace(accept("cam1:b1:1"), score=math.nan), "not_finite"),
        (replace(accept("cam1:b1:1"), score=-math.inf), "not_finite"),
        (replace(accept("cam1:b1:1"), score=None), "model_error"),
        (replace(accept("cam1:b1:1"), threshold=None), "model_error"),
        (replace(accept("cam1:b1:1"), threshold=math.nan), "not_finite"),
        (replace(accept("cam1:b1:1"), score=2.0), "model_error"),
        (replace(accept("cam1:b1:1"), decision="yes"), "model_error"),
        (replace(accept("cam1:b1:1"), threshold_state="hopeful"), "model_error"),
        (replace(accept("cam1:b1:1"), decision="uninspected", reason="decode"), "decode"),
    ],
)
def test_an_answer_that_cannot_be_stood_for_is_never_an_accept(rig: Rig, answer: object, reason: str) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.worker.say(answer)  # type: ignore[arg-type]
    reply = rig.json_reply(peer)
    assert (reply["decision"], reply["reason"], reply["score"]) == ("uninspected", reason, None)


def test_the_frames_of_a_lost_worker_are_uninspected_at_once(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.worker.lost = ["cam1:b1:1", "a frame that was answered long ago"]
    reply = rig.json_reply(peer)
    assert (reply["decision"], reply["reason"]) == ("uninspected", "worker_lost")


def test_frames_wait_for_a_worker_until_their_deadline(rig: Rig) -> None:
    peer = rig.peer()
    rig.worker.ready = False
    rig.take_in(peer, native(seq=1))
    rig.clock.advance(300)
    rig.take_in(peer, native(seq=2))
    rig.clock.advance(300)
    assert rig.json_reply(peer)["reason"] == "deadline"
    rig.worker.ready = True
    rig.until(lambda: rig.worker.sent)
    assert list(rig.worker.sent) == ["cam1:b1:2"]


def test_a_replay_of_an_answered_frame_gets_the_first_verdict_again(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.worker.say(accept("cam1:b1:1"))
    first = rig.json_reply(peer)
    rig.take_in(peer, native())
    assert rig.json_reply(peer) == first
    assert (rig.tally.duplicates, len(rig.tally.verdicts)) == (1, 1)
    assert rig.tally.conserved


def test_a_replay_of_a_pending_frame_is_answered_when_its_verdict_comes(rig: Rig) -> None:
    peers = [rig.peer(), rig.peer()]
    for peer in peers:
        rig.take_in(peer, native())
    assert rig.tally.conserved
    rig.worker.say(accept("cam1:b1:1"))
    assert [rig.json_reply(peer)["decision"] for peer in peers] == ["accept", "accept"]
    assert (rig.tally.duplicates, len(rig.tally.verdicts)) == (1, 1)
    assert rig.tally.conserved


def test_replays_of_one_pending_frame_are_bounded(rig: Rig) -> None:
    peer = rig.peer()
    for _ in range(18):
        rig.take_in(peer, native())
    assert [refusal.reason for refusal in rig.tally.refusals] == [RefusalReason.BUSY] * 2
    assert rig.tally.conserved


@pytest.mark.parametrize("answered", [False, True])
def test_a_key_that_comes_back_with_other_bytes_is_refused(rig: Rig, answered: bool) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    if answered:
        rig.worker.say(accept("cam1:b1:1"))
        rig.reply(peer)
    rig.take_in(peer, native(payload=OTHER_PIXELS))
    reply = rig.json_reply(peer)
    assert (reply["status"], reply["reason"]) == ("error", "key_reused")
    assert rig.tally.conserved


def test_a_line_that_replies_queued_is_answered_once_the_frame_is_durable(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native(camera="quiet"))
    answer = rig.json_reply(peer)
    assert (answer["seq"], answer["status"], answer["key"]) == (1, "queued", "quiet:b1:1")
    rig.worker.say(accept("quiet:b1:1"))
    rig.until(lambda: rig.tally.verdicts)
    rig.take_in(peer, native(camera="quiet", seq=2))
    assert rig.json_reply(peer)["status"] == "queued"  # no second reply to the first request came before


def test_every_verdict_is_published_under_its_line(rig: Rig) -> None:
    subscriber = rig.context.socket(zmq.SUB)
    rig.peers.append(subscriber)
    subscriber.connect(rig.publisher.endpoint)
    subscriber.subscribe(b"verdict.4.")
    peer = rig.peer()
    seq = 0
    while not subscriber.poll(0):  # a subscription takes effect some time after it was asked for
        seq += 1
        rig.take_in(peer, native(seq=seq))
        rig.worker.say(accept(f"cam1:b1:{seq}"))
        rig.reply(peer)
    topic, body = subscriber.recv_multipart()
    assert topic == b"verdict.4."
    assert b'"decision":"accept"' in body


def test_too_many_frames_are_told_to_come_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_in_flight=2)
    peer = rig.peer()
    for seq in range(3):
        rig.take_in(peer, native(seq=seq))
    reply = rig.json_reply(peer)
    assert (reply["status"], reply["seq"], reply["retry_after_ms"]) == ("busy", 2, 100)
    assert rig.tally.conserved
    rig.close()


@pytest.mark.parametrize("options", [{"max_in_flight": 8}, {"max_in_flight_bytes": 8 * len(PIXELS)}])
def test_a_greedy_camera_leaves_room_for_the_others(tmp_path: Path, options: dict[str, int]) -> None:
    rig = Rig(tmp_path, **options)
    greedy, modest = rig.peer(), rig.peer()
    for seq in range(20):
        rig.take_in(greedy, native(seq=seq))
    for seq in range(2):
        rig.take_in(modest, native(camera="cam2", seq=seq))
    assert Counter(header.camera for header, _ in rig.worker.sent.values()) == {"cam1": 5, "cam2": 2}
    assert {refusal.camera for refusal in rig.tally.refusals} == {"cam1"}
    rig.close()


def test_a_turn_that_takes_long_to_read_ends_before_everything_is_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts that are ready wait for its end. Each message costs a millisecond here."""
    received = rig.tally.frame_received

    def slowly(frame: RawFrame) -> None:
        rig.clock.advance(1)
        received(frame)

    monkeypatch.setattr(rig.tally, "frame_received", slowly)
    for number in range(30):
        rig.peer().send_multipart(native(seq=number))
    read = [rig.ingress.turn(100)]
    while rig.tally.received < 30 and len(read) < 300:
        read.append(rig.ingress.turn(100))
    assert rig.tally.received == 30
    assert max(read) <= MESSAGES_AT_ONCE


@pytest.mark.parametrize("options", [{"max_in_flight_bytes": 1000}, {"max_outbox_rows": 1}])
def test_too_many_bytes_or_rows_are_told_to_come_back(tmp_path: Path, options: dict[str, int]) -> None:
    rig = Rig(tmp_path, **options)
    peer = rig.peer()
    rig.take_in(peer, native(seq=1))
    rig.take_in(peer, stock("cam1"))
    assert rig.reply(peer).startswith(b"BUSY retry_after_ms=100")
    rig.close()


def test_what_an_earlier_life_left_pending_is_uninspected_and_its_replay_is_answered(tmp_path: Path) -> None:
    first = Rig(tmp_path)
    first.take_in(first.peer(), native())
    day = first.clock.now().date().isoformat()
    first.close()
    orphan = tmp_path / "heatmaps" / "4" / day / "cam1:b1:1.png"
    bystander = orphan.with_name("cam1:b1:0.png")
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"png")
    bystander.write_bytes(b"png")

    second = Rig(tmp_path)
    second.ingress.recover()
    assert second.tally.recovered_rows == 1
    assert [verdict.reason for verdict in second.tally.verdicts] == ["restart"]
    assert (orphan.exists(), bystander.exists()) == (False, True)
    peer = second.peer()
    second.take_in(peer, native())
    assert second.json_reply(peer)["reason"] == "restart"
    assert second.tally.conserved
    second.close()


def test_a_stop_answers_everyone(rig: Rig) -> None:
    held, late = rig.peer(), rig.peer()
    rig.take_in(held, native())
    late.send_multipart(native(seq=2))
    rig.clock.advance(400)
    turns = 0

    def tend() -> None:
        nonlocal turns
        turns += 1
        if rig.tally.refusals:
            rig.clock.advance(50)

    rig.ingress.drain(tend)
    assert rig.json_reply(held)["reason"] == "deadline"
    reply = rig.json_reply(late)
    assert (reply["status"], reply["detail"]) == ("busy", "restart")
    assert turns > 0
    assert rig.tally.conserved


def test_a_stop_does_not_outwait_a_long_deadline(tmp_path: Path) -> None:
    rig = Rig(tmp_path, drain_s=0.1)
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.ingress.drain(lambda: rig.clock.advance(60))
    assert rig.json_reply(peer)["reason"] == "restart"
    rig.close()


def test_while_the_outbox_fails_frames_are_given_back_and_verdicts_wait_for_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, quiet = rig.peer(), rig.peer()
    rig.take_in(peer, native(seq=1))
    rig.until(lambda: rig.worker.sent)

    def full(**_: object) -> None:
        raise OutboxUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.outbox, "commit", full)
        rig.worker.say(accept("cam1:b1:1"))
        rig.take_in(peer, native(seq=2))
        rig.take_in(quiet, native(camera="quiet", seq=3))
        assert {rig.json_reply(each)["status"] for each in (peer, quiet)} == {"busy"}
        assert list(rig.worker.sent) == ["cam1:b1:1"]
        assert rig.tally.errors["outbox"]
        assert rig.tally.conserved
    reply = rig.json_reply(peer)
    assert (reply["seq"], reply["decision"]) == (1, "accept")
    assert rig.tally.conserved


def test_a_verdict_that_cannot_be_written_keeps_its_sender_no_longer_than_its_deadline(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = rig.peer()
    rig.take_in(peer, native(seq=1))
    rig.until(lambda: rig.worker.sent)

    def full(**_: object) -> None:
        raise OutboxUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.outbox, "commit", full)
        rig.worker.say(accept("cam1:b1:1"))
        rig.until(lambda: rig.tally.errors["outbox"])
        assert not peer.poll(0)
        rig.clock.advance(501)
        assert rig.json_reply(peer)["status"] == "busy"
        assert (rig.tally.refusals, rig.tally.conserved) == ([], True)
    rig.until(lambda: rig.tally.verdicts)
    peer.send_multipart(native(seq=1))
    assert rig.json_reply(peer)["decision"] == "accept"
    assert rig.tally.conserved


def test_an_outbox_that_works_again_lets_frames_in_though_nothing_waits_for_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = rig.peer()

    def full(**_: object) -> None:
        raise OutboxUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.outbox, "commit", full)
        rig.take_in(peer, native(seq=1))
        assert rig.json_reply(peer)["status"] == "busy"
    rig.ingress.turn(0)
    rig.take_in(peer, native(seq=1))
    rig.until(lambda: rig.worker.sent)
    assert rig.tally.conserved


def test_a_stop_turns_away_whom_a_failing_outbox_keeps_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, drain_s=0.1)
    peers = [rig.peer(), rig.peer()]
    peers[0].send_multipart(native())
    rig.until(lambda: rig.worker.sent)

    def full(**_: object) -> None:
        raise OutboxUnavailable("disk full")

    monkeypatch.setattr(rig.outbox, "commit", full)
    peers[1].send_multipart(native(camera="quiet"))
    rig.until(lambda: rig.tally.received == 2)
    rig.ingress.drain(lambda: rig.clock.advance(60))
    replies = [rig.json_reply(peer) for peer in peers]
    assert [reply["status"] for reply in replies] == ["busy"] * 2
    assert replies[0]["detail"] == "restart"
    rig.close()


def test_the_loop_runs_until_it_is_stopped_and_answers_meanwhile(rig: Rig) -> None:
    stop = threading.Event()
    peer = rig.peer()
    replies = []

    def talk() -> None:
        peer.send_multipart(native(boot=None))
        replies.append(peer.recv_multipart()[-1])
        stop.set()

    def tend() -> None:
        for key in rig.worker.sent:
            rig.worker.say(accept(key))
        rig.worker.sent.clear()

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(talk)
        rig.ingress.run(stop, tend=tend)
    future.result()
    assert b'"accept"' in replies[0]
    assert rig.ingress.turns > 0
    assert rig.ingress.frames_in_flight == 0


def test_a_sender_that_went_away_is_counted_and_harms_nobody(rig: Rig) -> None:
    gone, here = rig.peer(), rig.peer()
    rig.take_in(gone, native(seq=1))
    rig.take_in(here, native(seq=2))
    gone.close(0)
    rig.until(lambda: rig.tally.events["disconnected"])
    rig.worker.say(accept("cam1:b1:1"), accept("cam1:b1:2"))
    assert rig.json_reply(here)["decision"] == "accept"
    assert rig.tally.events["unreachable"] == 1
    assert rig.tally.conserved


def test_a_burst_of_replies_to_one_sender_loses_none(rig: Rig) -> None:
    peer = rig.peer()
    for seq in range(100):
        rig.take_in(peer, native(seq=seq))
    rig.worker.say(*(accept(f"cam1:b1:{seq}") for seq in range(100)))
    assert {rig.json_reply(peer)["seq"] for _ in range(100)} == set(range(100))


def test_skipped_numbers_of_one_life_are_counted(rig: Rig) -> None:
    peer = rig.peer()
    for boot, seq in [("b1", 5), ("b1", 6), ("b1", 9), ("b1", 6), ("b1", 10), ("b2", 3), ("b2", 5)]:
        rig.take_in(peer, native(boot=boot, seq=seq, payload=PIXELS))
    assert rig.tally.missing == 3


def test_verdicts_that_sql_has_are_marked_at_the_next_turn(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native())
    rig.worker.say(accept("cam1:b1:1"))
    rig.reply(peer)
    assert (rig.outbox.unrecorded, rig.recorded.wakes) == (1, 1)
    rig.recorded.recorded_up_to = 1
    rig.until(lambda: rig.outbox.unrecorded == 0)
    rig.take_in(peer, native())
    assert rig.json_reply(peer)["decision"] == "accept"


def test_the_camera_socket_is_bounded_as_the_specification_says(rig: Rig) -> None:
    socket = rig.camera_socket.socket
    options = (zmq.RCVHWM, zmq.SNDHWM, zmq.MAXMSGSIZE, zmq.LINGER, zmq.HEARTBEAT_IVL, zmq.HANDSHAKE_IVL)
    assert [socket.getsockopt(option) for option in options] == [4, 4, 128 * 1024 * 1024, 0, 500, 5000]


def test_a_slow_reader_of_refusals_harms_nobody(rig: Rig) -> None:
    flood, peer = rig.peer(), rig.peer()
    for _ in range(300):
        flood.send_multipart([b"", b"{", b""])
    peer.send_multipart(native())
    rig.until(lambda: "cam1:b1:1" in rig.worker.sent, "dispatch")  # receipts alone may all be the flood's
    rig.worker.say(accept("cam1:b1:1"))
    assert rig.json_reply(peer)["decision"] == "accept"
    replies = [rig.reply(flood) for _ in range(300)]
    assert all(reply.startswith(b"ERR expected a JSON header") for reply in replies)
    assert rig.tally.conserved


def test_a_new_configuration_holds_from_the_next_message_on_and_frames_in_flight_keep_theirs(rig: Rig) -> None:
    peer = rig.peer()
    rig.take_in(peer, native(seq=1))
    other = Camera(name="cam9", line=9, color="bgr", deadline_ms=300, reply="verdict")
    rig.ingress.reconfigure(CameraDirectory([other]), replace(rig.options, retry_after_ms=7, max_in_flight=2))
    rig.take_in(peer, native(seq=2))
    assert rig.json_reply(peer)["detail"] == "unknown camera 'cam1'"
    rig.take_in(peer, native(camera="cam9"))
    rig.take_in(peer, native(camera="cam9", seq=2))
    assert rig.json_reply(peer)["retry_after_ms"] == 7
    rig.worker.say(*(accept(key) for key in rig.worker.sent))
    answers = [rig.json_reply(peer) for _ in range(2)]
    assert [(answer["camera"], answer["line"]) for answer in answers] == [("cam1", 4), ("cam9", 9)]
