"""A stand-in for ingress beside a real worker process: binds the sockets, sends frames, collects answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq

from daemon.link import (
    FrameHeader,
    ScoredBatch,
    ScoredFrame,
    WorkerStatus,
    pack_frame_header,
    unpack_upward,
)
from daemon.supervisor import WorkerProcess
from daemon.worker_config import WorkerConfig

PATIENCE_S = 60.0


class WorkerRig:
    """One worker process and ingress' end of its sockets. `folder`: a short path for the sockets."""

    def __init__(self, folder: Path, *, state: Path, tiny: Any, **settings: Any) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.frames = self.context.socket(zmq.PUSH)
        self.upward = self.context.socket(zmq.PULL)
        self.frames.bind(f"ipc://{folder}/frames")
        self.upward.bind(f"ipc://{folder}/upward")
        self.answers: dict[str, ScoredFrame] = {}
        self.batches: list[ScoredBatch] = []
        self.status: WorkerStatus | None = None
        defaults = {"lines": (4,), "shortest_deadline_ms": 500, "redis_url": None, "log_format": "text"}
        self.process = WorkerProcess(
            WorkerConfig(
                worker=0,
                life=1,
                parent_pid=os.getpid(),
                frames_endpoint=f"ipc://{folder}/frames",
                upward_endpoint=f"ipc://{folder}/upward",
                state_dir=str(state),
                records_url=f"sqlite:///{state}/records.db",
                preset=str(tiny.config),
                weights=str(tiny.weights),
                device="cpu",
                **{**defaults, **settings},
            )
        )

    def send(
        self,
        key: str,
        payload: bytes,
        *,
        line: int = 4,
        encoding: str = "png",
        shape: tuple[int, ...] = (),
        deadline_s: float = 30.0,
    ) -> None:
        """Send one frame as ingress would."""
        now_ns = time.monotonic_ns()
        header = FrameHeader(
            key=key,
            line=line,
            camera="cam",
            encoding=encoding,
            dtype="uint8",
            shape=shape,
            color="rgb",
            received_ns=now_ns,
            deadline_ns=now_ns + int(deadline_s * 1e9),
        )
        self.frames.send_multipart([pack_frame_header(header), payload])

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Read upward messages until the condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            left_ms = int((end - time.monotonic()) * 1000)
            if left_ms <= 0 or not self.upward.poll(min(left_ms, 200)):
                assert left_ms > 0, f"waited {PATIENCE_S} s for {what}; last status {self.status}"
                continue
            self._note(unpack_upward(self.upward.recv()))

    def until_ready(self) -> None:
        """Wait for READY."""
        self.until(lambda: self.status is not None and self.status.phase == "ready", "READY")

    def until_answered(self, *keys: str) -> list[ScoredFrame]:
        """Wait for these answers, in this order."""
        self.until(lambda: set(keys) <= set(self.answers), f"answers to {keys}")
        return [self.answers[key] for key in keys]

    def close(self) -> None:
        """End everything that was started."""
        self.process.kill()
        self.context.destroy(linger=0)

    def _note(self, message: ScoredBatch | WorkerStatus) -> None:
        if isinstance(message, WorkerStatus):
            self.status = message
            return
        self.batches.append(message)
        for frame in message.frames:
            assert frame.key not in self.answers, f"{frame.key} was answered twice"
            self.answers[frame.key] = frame


def png(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB to PNG bytes."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()
