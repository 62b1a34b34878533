"""The worker's parts on real sockets and threads, with a small honest scorer in place of the encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zmq

from core.image import decode_image
from daemon.answers import uninspected
from daemon.batch_queue import BatchQueue
from daemon.batch_scoring import BatchScoring
from daemon.captures import CaptureRequest, Captures
from daemon.clock import SystemClock
from daemon.evidence import Evidence
from daemon.finisher import Finisher
from daemon.flow import UninspectedReason
from daemon.intake import Intake
from daemon.kept_frames import KeepRule
from daemon.lane import Lane, ScorerFacts
from daemon.lanes import Lanes
from daemon.link import ScoredBatch, WorkerOrders, WorkerStatus, pack_frame_header, pack_orders, unpack_upward
from daemon.scoring_loop import MEMORY_NS, SELFTEST_NS, ScoringLoop, SelfTestFailed
from daemon.selftest import SelfTest
from daemon.status_board import Beat, StatusBoard
from daemon.warmup import Cores, warm_up
from daemon.work import Answer, Answers, Image, LineBank, PreparedBank, QueuedFrame
from tests.daemon.fake_scorer import POISON, FakeScorer, frame, line_bank
from tests.daemon.patience import until

CLOCK = SystemClock()
PATIENCE_MS = 20_000


class SteppedClock(SystemClock):
    """The real clock, moved on by hand."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


class StagedBanks:
    """Stands in for the bank keeper: stages what a test hands in, and asks the self-test as the keeper does."""

    def __init__(self) -> None:
        self.staged: list[LineBank] = []
        self._current: dict[int, LineBank] = {}

    def swap_in(self, prepare: Any, check: Callable[[PreparedBank], str | None]) -> bool:
        staged, self.staged = self.staged, []
        passed = [bank for bank in staged if check(bank.prepared) is None]
        self._current = {**self._current, **{bank.line: bank for bank in passed}}
        return bool(passed)

    def current(self) -> dict[int, LineBank]:
        return self._current

    def status(self) -> Any:
        return SimpleNamespace(redis_up=True, db_up=True, loads={}, bytes_held=0, lines={})


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def queue(max_size: int = 8) -> BatchQueue:
    return BatchQueue(max_size=max_size, max_delay_ns=5_000_000, clock=CLOCK)


def board() -> StatusBoard:
    return StatusBoard(worker=0, life=1, clock=CLOCK)


def fill(queue: BatchQueue, *frames: QueuedFrame) -> None:
    for _ in frames:
        queue.expect()
    for item in frames:
        queue.arrive(item)


def scoring_loop(
    scorer: FakeScorer,
    queue: BatchQueue,
    banks: StagedBanks,
    out: Any,
    *,
    clock: SystemClock = CLOCK,
    lanes: int = 1,
    enter_lane: Callable[[], None] = lambda: None,
) -> ScoringLoop:
    keeper: Any = banks
    told = board()
    return ScoringLoop(
        scorer=scorer,
        lanes=[lane(scorer, queue, banks, out, told, clock=clock, index=index) for index in range(lanes)],
        banks=keeper,
        board=told,
        selftest=SelfTest(scorer=scorer, device="cpu", precision="float32"),
        clock=clock,
        enter_lane=enter_lane,
    )


def lane(
    scorer: FakeScorer,
    queue: BatchQueue,
    banks: StagedBanks,
    out: Any,
    told: StatusBoard,
    *,
    clock: SystemClock,
    index: int,
) -> Lane:
    return Lane(
        index=index,
        scoring=BatchScoring(
            scorer,
            max_size=8,
            keep_heatmaps=frozenset({"reject"}),
            quarantine=lambda frame, error: None,
            clock=clock,
        ),
        queue=queue,
        banks=banks.current,
        out=out,
        board=told,
        facts=ScorerFacts(worker=0, model_id="fake", adapter_sha256=None),
        clock=clock,
    )


class Out(list[Answers]):
    def put(self, answers: Answers) -> None:
        self.append(answers)


def with_golden(score: float) -> LineBank:
    """A bank whose golden picture is 50 bright and scored `score` at enrolment."""
    bank = line_bank()
    golden = SimpleNamespace(**vars(bank.prepared.bank) | {"golden": np.full((8, 8, 3), 50, np.uint8)})
    golden.golden_score = score
    prepared: Any = SimpleNamespace(bank=golden, size_bytes=8)
    return replace(bank, prepared=prepared)


def test_the_queue_hands_out_what_came_and_is_drained_after_it_closes():
    waiting = queue()
    fill(waiting, frame("a"), frame("b"))
    assert waiting.weight == 2 * 16 * 16 * 3
    taken = waiting.take(1.0)
    assert [item.header.key for item in taken.batch] == ["a", "b"]
    assert waiting.weight == 0
    waiting.close()
    assert waiting.drained


def test_a_waiting_scorer_wakes_when_a_frame_arrives():
    waiting, taken = queue(), []
    taker = threading.Thread(target=lambda: taken.append(waiting.take(20.0)))
    taker.start()
    fill(waiting, frame("a"))
    taker.join(20)
    assert [item.header.key for item in taken[0].batch] == ["a"]


def test_a_frame_that_will_not_come_no_longer_holds_up_the_others():
    waiting = BatchQueue(max_size=8, max_delay_ns=10**12, clock=CLOCK)
    waiting.expect()
    fill(waiting, frame("a"))
    assert waiting.take(0.0).batch == ()
    waiting.arrive(None)
    assert len(waiting.take(20.0).batch) == 1


def test_a_lane_that_leaves_frames_behind_wakes_the_next():
    """Both wait for the second of two frames; its arrival wakes one of them, who takes its half."""
    waiting, taken = BatchQueue(max_size=8, max_delay_ns=10**12, clock=CLOCK), []
    waiting.expect()
    waiting.expect()
    waiting.arrive(frame("a"))
    takers = [threading.Thread(target=lambda: taken.append(waiting.take(60.0)), daemon=True) for _ in range(2)]
    for taker in takers:
        taker.start()
    until(lambda: waiting._takers == 2)
    waiting.arrive(frame("b"))
    for taker in takers:
        taker.join(20)
    assert sorted(item.header.key for turn in taken for item in turn.batch) == ["a", "b"]
    assert [len(turn.batch) for turn in taken] == [1, 1]


def test_lanes_score_side_by_side_and_the_loop_ends_when_all_are_drained():
    """Each lane is in the middle of a frame before any may finish; one alone would wait for ever."""
    waiting, banks, out, entered = queue(max_size=1), StagedBanks(), Out(), []
    scorer = MeetingScorer(3)
    banks.staged.append(line_bank())
    fill(waiting, *(frame(str(index)) for index in range(3)))
    waiting.close()
    loop = scoring_loop(scorer, waiting, banks, out, lanes=3, enter_lane=lambda: entered.append(1))
    loop.swap_banks()
    loop.run()
    assert sorted(answer.scored.key for answers in out for answer in answers.answers) == ["0", "1", "2"]
    assert scorer.batches == [1, 1, 1]
    assert len(entered) == 2


def test_the_scorer_tells_its_devices_memory_every_second_and_not_more_often():
    clock, told, asked = SteppedClock(), board(), []
    keeper: Any = StagedBanks()
    waiting = queue()
    waiting.close()
    loop = ScoringLoop(
        scorer=FakeScorer(),
        lanes=[lane(FakeScorer(), waiting, keeper, Out(), told, clock=clock, index=0)],
        banks=keeper,
        board=told,
        selftest=SelfTest(scorer=FakeScorer(), device="cpu", precision="float32"),
        clock=clock,
        device_memory=lambda: asked.append(1) or {"allocated": len(asked)},
    )
    loop.turn()
    loop.turn()
    clock.ahead_ns = MEMORY_NS
    loop.turn()
    assert told.status(keeper.status()).device_memory == {"allocated": 2}


def test_the_loop_answers_every_frame_of_a_batch_whatever_its_fate():
    waiting, banks, out = queue(), StagedBanks(), Out()
    banks.staged.append(line_bank())
    fill(
        waiting,
        frame("good", 10),
        frame("bad", 250),
        frame("poison", POISON),
        frame("unenrolled", line=5),
        frame("late", deadline_s=-1),
    )
    waiting.close()
    scoring_loop(FakeScorer(), waiting, banks, out).run()
    told = {answer.scored.key: answer.scored for answers in out for answer in answers.answers}
    assert {key: (scored.decision, scored.reason) for key, scored in told.items()} == {
        "good": ("accept", None),
        "bad": ("reject", None),
        "poison": ("uninspected", "model_error"),
        "unenrolled": ("uninspected", "no_bank"),
        "late": ("uninspected", "deadline"),
    }
    (report,) = [answers.report for answers in out if answers.report]
    assert (report.size, report.bucket, report.retries) == (4, 4, {"error": 1})
    assert set(report.seconds) == {"decode", "encode", "match"}


def test_a_bank_is_swapped_between_batches_only():
    waiting, banks, out = queue(), StagedBanks(), Out()
    loop = scoring_loop(FakeScorer(), waiting, banks, out)
    banks.staged.append(line_bank(reject=100))
    fill(waiting, frame("a", 50))
    loop.turn()
    banks.staged.append(line_bank(reject=20))
    fill(waiting, frame("b", 50))
    loop.turn()
    assert [answers.answers[0].scored.decision for answers in out] == ["accept", "reject"]


def test_a_swapped_bank_is_told_at_once_and_a_turn_without_one_tells_nothing():
    banks, told = StagedBanks(), []
    keeper: Any = banks
    loop = ScoringLoop(
        scorer=FakeScorer(),
        lanes=[],
        banks=keeper,
        board=board(),
        selftest=SelfTest(scorer=FakeScorer(), device="cpu", precision="float32"),
        clock=CLOCK,
        tell=lambda: told.append(1),
    )
    loop.swap_banks()
    assert told == []
    banks.staged.append(line_bank())
    loop.swap_banks()
    assert told == [1]


def test_a_bank_that_fails_its_self_test_is_reported_and_not_used():
    waiting, banks, out = queue(), StagedBanks(), Out()
    loop = scoring_loop(FakeScorer(), waiting, banks, out)
    banks.staged.append(with_golden(49.0))
    fill(waiting, frame("a"))
    loop.turn()
    assert out[0].answers[0].scored.reason == "no_bank"
    banks.staged.append(with_golden(50.0))
    fill(waiting, frame("b"))
    loop.turn()
    assert out[1].answers[0].scored.decision == "accept"


def test_a_model_that_changes_its_mind_within_the_hour_ends_this_life():
    clock, banks = SteppedClock(), StagedBanks()
    bank = with_golden(50.0)
    banks.staged.append(bank)
    loop = scoring_loop(FakeScorer(), queue(), banks, Out(), clock=clock)
    loop.swap_banks()
    bank.prepared.bank.golden_score = 40.0
    clock.ahead_ns = SELFTEST_NS + 1
    with pytest.raises(SelfTestFailed, match="scored 40 at enrolment"):
        loop.turn()


def test_the_self_test_is_less_strict_on_another_backend_but_still_finds_a_wrong_model():
    elsewhere = SelfTest(scorer=FakeScorer(), device="cuda:0", precision="bfloat16")
    assert elsewhere.error(with_golden(51.0).prepared) is None
    assert elsewhere.error(with_golden(60.0).prepared) is not None


def test_the_intake_answers_what_it_cannot_decode_and_queues_the_rest(context):
    waiting, answered, ordered, ended = queue(), [], [], threading.Event()
    frames = context.socket(zmq.PUSH)
    port = frames.bind_to_random_port("tcp://127.0.0.1")
    orders = WorkerOrders(
        lines=(4, 5),
        keep_heatmaps=("reject",),
        keep_frames=("accept", "reject"),
        keep_accepted_every=7,
        log_format="text",
        log_level="DEBUG",
    )
    intake = Intake(
        waiting,
        answer=answered.append,
        follow=ordered.append,
        ended=ended,
        context=context,
        endpoint=f"tcp://127.0.0.1:{port}",
        decode_threads=2,
        max_pixels=10_000,
        clock=CLOCK,
    )
    intake.start()
    whole = frame("whole", 7)
    frames.send_multipart([b"\xc1 no header", b"payload"])
    frames.send_multipart([b"one part"])
    frames.send_multipart([pack_orders(orders)])
    for item in (whole, frame("late", deadline_s=-1)):
        frames.send_multipart([pack_frame_header(item.header), item.payload])
    short = frame("short")
    frames.send_multipart([pack_frame_header(short.header), short.payload[:-1]])
    junk = replace(frame("junk").header, encoding="jpeg")
    frames.send_multipart([pack_frame_header(junk), b"\xff\xd8\xffjunk"])
    taken = waiting.take(20.0).batch
    until(lambda: len(answered) == 3)
    ended.set()
    intake.join(20)
    frames.close(0)
    assert [item.header.key for item in taken] == ["whole"]
    assert np.array_equal(taken[0].image, whole.image)
    reasons = {answer.scored.key: answer.scored.reason for answer in answered}
    assert reasons == {"late": "deadline", "short": "decode", "junk": "decode"}
    assert waiting.drained
    assert ordered == [orders]


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


def test_the_beat_goes_on_while_the_scorer_is_busy_and_says_for_how_long(context):
    upward, told = context.socket(zmq.PULL), board()
    port = upward.bind_to_random_port("tcp://127.0.0.1")
    beat = Beat(told, banks=StagedBanks(), context=context, endpoint=f"tcp://127.0.0.1:{port}", every_s=0.01)
    told.busy(CLOCK.monotonic_ns() - 5_000_000_000)
    told.turned()
    beat.start()
    status = receive_status(upward)
    assert (status.phase, status.progress, status.life) == ("loading", 1, 1)
    assert status.busy_ms >= 5000
    assert status.rss_bytes > 0
    told.busy(None)
    told.enter("ready", queued=lambda: 3)
    beat.now()
    while (status := receive_status(upward)).phase != "ready":
        pass
    assert (status.busy_ms, status.queued) == (0.0, 3)
    told.enter("stopping")
    beat.stop()
    while receive_status(upward).phase != "stopping":
        pass
    upward.close(0)


def test_progress_is_the_slowest_lanes_and_the_oldest_batch_tells_how_long_it_runs():
    told = board()
    told.warmed(slowest_ns=0, lanes=2)
    told.turned(0)
    told.turned(0)
    assert told.status(StagedBanks().status()).progress == 0
    told.turned(1)
    told.busy(CLOCK.monotonic_ns() - 5_000_000_000, 1)
    told.busy(CLOCK.monotonic_ns(), 0)
    status = told.status(StagedBanks().status())
    assert (status.progress, status.lanes) == (1, 2)
    assert status.busy_ms >= 5000
    told.busy(None, 1)
    assert told.status(StagedBanks().status()).busy_ms < 5000


def test_warm_up_gives_every_lane_its_share_of_the_cores():
    scorer, told = FakeScorer(), []
    cores = Cores(count=4, compute_with=lambda threads: told.append((threading.current_thread(), threads)))
    warmed = warm_up(scorer, max_size=1, shortest_deadline_ns=1, clock=CLOCK, lanes=2, cores=cores)
    assert warmed.lanes == Lanes(count=2, threads=2)
    assert told[0] == (threading.current_thread(), 4)  # the sizes of a batch are measured in one lane
    assert told[-1] == (threading.current_thread(), 2)
    assert {threads for thread, threads in told if thread is not threading.current_thread()} == {2}


def test_warm_up_takes_as_many_lanes_as_bring_frames():
    """A scorer of a machine whose four cores each do a frame in 10 ms, and share one frame out in vain."""
    cores = Cores(count=4)
    warmed = warm_up(
        SleepingScorer(0.01), max_size=1, shortest_deadline_ns=10**12, clock=CLOCK, lanes=0, cores=cores
    )
    assert warmed.lanes == Lanes(count=4, threads=1)
    assert set(warmed.batch_ns) == {1}


def test_warm_up_waits_until_a_batch_is_computed_before_it_looks_at_the_clock():
    """A GPU's call returns at once; without the wait every batch would seem to take no time."""
    clock = SteppedClock()

    def computing() -> None:
        clock.ahead_ns += 40_000_000

    warmed = warm_up(
        FakeScorer(), max_size=1, shortest_deadline_ns=10**12, clock=clock, lanes=1, cores=Cores(finish=computing)
    )
    assert warmed.batch_ns[1] >= 40_000_000


def test_warm_up_runs_every_size_that_may_come():
    scorer = FakeScorer()
    warmed = warm_up(scorer, max_size=6, shortest_deadline_ns=1, clock=CLOCK)
    assert warmed.max_size == 6
    assert set(scorer.batches) == set(warmed.batch_ns) == {1, 2, 4, 6}


def test_warm_up_leaves_out_the_sizes_that_the_shortest_deadline_rules_out():
    scorer = FakeScorer()
    warmed = warm_up(scorer, max_size=0, shortest_deadline_ns=1, clock=CLOCK)
    assert warmed.max_size == 1
    assert set(scorer.batches) == {1}


class MeetingScorer(FakeScorer):
    """Scores once so many batches are under way together."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._all_here = threading.Barrier(parties, timeout=20)

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        self._all_here.wait()
        return super().encode(images, banks)


class SleepingScorer(FakeScorer):
    """Takes its time and no processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        threading.Event().wait(self._seconds)
        return super().encode(images, banks)


def receive(upward: zmq.Socket[bytes]) -> ScoredBatch:
    assert upward.poll(PATIENCE_MS)
    message = unpack_upward(upward.recv())
    assert isinstance(message, ScoredBatch)
    return message


def receive_status(upward: zmq.Socket[bytes]) -> WorkerStatus:
    assert upward.poll(PATIENCE_MS)
    message = unpack_upward(upward.recv())
    assert isinstance(message, WorkerStatus)
    return message
