"""The whole daemon against `core` alone, on the same pictures in the same run, and four cameras at 70 % of it.

Both are measured in turn, several times, and the ratio of the medians counts: this machine's speed drifts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

import core
from benchmarks import textile
from benchmarks.paced import run_cameras
from benchmarks.result import Result
from benchmarks.service import Service, ServiceFailed
from daemon.native_sender import NativeSender, Shot

ROUNDS = 5
FRAMES = 60
CAMERAS = 4
LOAD = 0.7
PACED_S = 20.0
LINE = 4


def results() -> Iterator[Result]:
    """Throughput ratio, ingress memory, and the paced run."""
    pictures = [picture.path.read_bytes() for picture in textile.stream(54, 3, 3, seed=1)]
    scorer = core.Scorer(core.load_encoder("lite", device="cpu"))
    good = textile.references(8, seed=1)
    samples = [core.Sample.from_bytes(picture.path.name, picture.path.read_bytes()) for picture in good]
    bank = scorer.prepare(core.enrol(scorer, samples, product="linen").bank)
    cameras = {f"camera-{index}": LINE for index in range(CAMERAS)}
    # One line with ample time to measure throughput, and the default deadline for the paced run.
    lines = {LINE: {"deadline_ms": 60_000, "product": "linen"}, 5: {"product": "linen"}}
    with Service(
        Path("var/bench"), lines=lines, cameras={**cameras, **{f"paced-{i}": 5 for i in range(CAMERAS)}}
    ) as service:
        enrol(service, lines, good)
        alone, whole = [], []
        for _ in range(ROUNDS):
            alone.append(_core_fps(scorer, bank, pictures))
            whole.append(daemon_fps(service, pictures))
        yield _ratio(alone, whole)
        memory = psutil.Process(service.pid).memory_info().rss / 1e6
        yield Result(name="ingress_rss_mb", value=memory, target=300.0, at_most=True, detail={})
        yield from _paced(service, pictures, LOAD * float(np.median(whole)))


def _ratio(alone: list[float], whole: list[float]) -> Result:
    return Result(
        name="daemon_over_core_throughput",
        value=float(np.median(whole) / np.median(alone)),
        target=0.9,
        detail={
            "core_fps": [round(value, 2) for value in alone],
            "daemon_fps": [round(value, 2) for value in whole],
            "frames": FRAMES,
        },
    )


def _core_fps(scorer: core.Scorer, bank: core.PreparedBank, pictures: Sequence[bytes]) -> float:
    """Decode and score with the batch size that is fastest here, as a library user would."""
    best = 0.0
    for batch in (1, 4):
        started = time.perf_counter()
        for start in range(0, len(pictures), batch):
            images = [core.decode_image(data) for data in pictures[start : start + batch]]
            scorer.score(images, [bank] * len(images), want_map=_never)
        best = max(best, len(pictures) / (time.perf_counter() - started))
    return best


def enrol(service: Service, lines: Iterable[int], good: Sequence[textile.Picture]) -> None:
    """Enrol these lines from the same good pictures, and wait until all is ready."""
    service.wait_for("worker")
    for line in lines:
        service.admin("enroll", "--line", str(line), "--wait", "30", "--json", *(str(p.path) for p in good))
    service.wait_until_ready()


def daemon_fps(service: Service, pictures: Sequence[bytes]) -> float:
    """From the first send to the last verdict, every camera's window kept full."""
    shares = [pictures[index::CAMERAS] for index in range(CAMERAS)]
    started = time.perf_counter()
    with ThreadPoolExecutor(CAMERAS) as cameras:
        for done in [cameras.submit(_send_all, service.ingest, *numbered) for numbered in enumerate(shares)]:
            done.result()
    return len(pictures) / (time.perf_counter() - started)


def _send_all(connect: str, index: int, pictures: Sequence[bytes]) -> None:
    sender = NativeSender(connect, f"camera-{index}")
    waiting, answered = list(pictures), 0
    while answered < len(pictures):
        while waiting and sender.has_room:
            sender.send(Shot(payload=waiting.pop(), enc="jpeg"))
        reply = sender.receive(60.0)
        if reply is None or reply.get("decision") == "uninspected":
            raise ServiceFailed(f"expected a verdict, got {reply}")
        answered += 1
    sender.close()


def _paced(service: Service, pictures: Sequence[bytes], rate_hz: float) -> Iterator[Result]:
    """Cameras that share `rate_hz` evenly on a line with the default deadline."""
    names = [f"paced-{index}" for index in range(CAMERAS)]
    run = run_cameras(service.ingest, names, pictures, rate_hz=rate_hz, seconds=PACED_S)
    detail = {
        "cameras": CAMERAS,
        "rate_hz": round(rate_hz, 2),
        "parts": run.triggered,
        "answered": len(run.answers),
        "window_full": run.passed_by,
    }
    yield Result(
        name="paced_frames_unanswered_or_uninspected", value=run.lost, target=0, at_most=True, detail=detail
    )
    p99_ms = run.percentile_ms(99)
    yield Result(name="paced_p99_send_to_reply_ms", value=p99_ms, target=500.0, at_most=True, detail=detail)


def _never(index: int, score: float) -> bool:
    return False
