"""The intake on a real socket: what it queues, and what it answers itself."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import zmq

from daemon.intake import Intake
from daemon.link import WorkerOrders, pack_frame_header, pack_orders
from tests.daemon.fake_scorer import frame
from tests.daemon.patience import until
from tests.daemon.worker_parts import CLOCK, queue


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
