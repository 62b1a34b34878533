"""A worker without a model, as a process: says that it is ready, accepts every frame, ends as it is told.

`python -m tests.daemon.echo_worker LIFE FRAMES UPWARD`. It is killed by its parent, or ends when its
standard input does. The camera "mute" gets no answer. The lines of its orders come up with its heartbeats.
"""

from __future__ import annotations

import os
import sys
import threading

import zmq

from daemon.link import ScoredBatch, ScoredFrame, WorkerStatus, pack_upward, unpack_frame_header, unpack_orders


def main(life: int, frames: str, upward: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.connect(frames)
    push.connect(upward)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    progress, lines = 0, ()
    while True:
        progress += 1
        push.send(
            pack_upward(
                WorkerStatus(
                    worker=0,
                    life=life,
                    pid=os.getpid(),
                    phase="ready",
                    progress=progress,
                    busy_ms=0,
                    queued=0,
                    lines={str(line): {} for line in lines},
                )
            )
        )
        if pull.poll(50):
            parts = pull.recv_multipart()
            if len(parts) == 1:
                lines = unpack_orders(parts[0]).lines
                continue
            header = unpack_frame_header(parts[0])
            if header.camera != "mute":
                answer = ScoredFrame(
                    key=header.key, decision="accept", reason=None, score=float(life), threshold=9.0
                )
                push.send(pack_upward(ScoredBatch(worker=0, life=life, frames=(answer,), report=None)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
