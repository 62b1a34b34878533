"""A small honest scorer of numpy: a picture's score is its mean brightness, whatever stands beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.decide import Thresholds, ThresholdState
from daemon.link import FrameHeader
from daemon.work import Image, LineBank, Map, QueuedFrame

POISON = 66
"""A picture of this value makes `encode` raise; 67 makes its score NaN."""
NAN = 67


@dataclass(frozen=True)
class FakeResult:
    score: float
    map: Map | None


@dataclass
class FakeScorer:
    """fits: pictures that memory holds at once; more raise MemoryError. flaky: batches that raise first."""

    fits: int = 1000
    flaky: int = 0
    error: type[Exception] = RuntimeError
    batches: list[int] = field(default_factory=list)
    adapter_sha256: str | None = None

    def prepare(self, bank: Any) -> Any:
        return SimpleNamespace(bank=bank, size_bytes=8)

    def encode(self, images: Sequence[Image], banks: Sequence[Any] = ()) -> np.ndarray:
        self.batches.append(len(images))
        if len(images) > self.fits:
            raise MemoryError(f"no room for {len(images)}")
        if self.flaky or any(int(image[0, 0, 0]) == POISON for image in images):
            self.flaky = max(0, self.flaky - 1)
            raise self.error("this picture breaks the model")
        return np.array([float(image.mean()) for image in images])

    def match(
        self, features: np.ndarray, banks: Sequence[Any], *, want_map: Callable[[int, float], bool]
    ) -> list[FakeResult]:
        assert len(features) == len(banks)
        scores = [float("nan") if value == NAN else float(value) for value in features]
        return [
            FakeResult(score, np.full((8, 8), score, np.float32) if want_map(index, score) else None)
            for index, score in enumerate(scores)
        ]


def frame(key: str, value: int = 10, *, line: int = 4, deadline_s: float = 60.0) -> QueuedFrame:
    """A queued frame of one colour."""
    now_ns = time.monotonic_ns()
    header = FrameHeader(
        key=key,
        line=line,
        camera="cam",
        encoding="raw",
        dtype="uint8",
        shape=(16, 16, 3),
        color="rgb",
        received_ns=now_ns,
        deadline_ns=now_ns + int(deadline_s * 1e9),
    )
    image = np.full((16, 16, 3), value, np.uint8)
    return QueuedFrame(header=header, image=image, payload=memoryview(image.tobytes()), queued_ns=now_ns)


def line_bank(line: int = 4, *, reject: float = 100.0, calibrated: bool = False) -> LineBank:
    """A line's bank: rejects pictures brighter than `reject`."""
    state = ThresholdState.CALIBRATED if calibrated else ThresholdState.PROVISIONAL
    header = SimpleNamespace(map_scale=(0.0, 200.0), device="cpu", precision="float32", product="cloth")
    bank = SimpleNamespace(
        header=header, golden=None, golden_score=None, p_value=lambda score: 0.25 if calibrated else None
    )
    return LineBank(
        line=line,
        product="cloth",
        bank_sha256="ab" * 32,
        revision=1,
        thresholds=Thresholds(reject=reject, review=reject, state=state),
        prepared=SimpleNamespace(bank=bank, size_bytes=8),
    )
