"""The whole daemon against `core` alone, on the same pictures in the same run, and four cameras at 70 % of it.

`core` is called as a library user would, a picture or batch after another; what its calls from several threads
give is told beside it, and what the daemon gives with a single lane. All are measured in turn, several times, and
the ratio of the medians counts: this machine's speed drifts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
CORES = core.compute_threads()
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
    # One line with ample time to measure throughput, and the default deadline for the paced run.
    lines = {LINE: {"deadline_ms": 60_000, "product": "linen"}, 5: {"product": "linen"}}
    cameras = {
        f"{kind}-{index}": line for kind, line in (("camera", LINE), ("paced", 5)) for index in range(CAMERAS)
    }
    with (
        Service(Path("var/bench"), lines=lines, cameras=cameras) as service,
        Service(Path("var/bench-1"), lines=lines, cameras=cameras, extra="[batching]\nlanes = 1\n") as one_lane,
    ):
        for each in (service, one_lane):
            enrol(each, lines, good)
        forms: dict[str, Callable[[], float]] = {
            "core": lambda: _core_fps(scorer, bank, pictures),
            "core_in_lanes": lambda: _core_in_lanes_fps(scorer, bank, pictures),
            "daemon": lambda: daemon_fps(service, pictures),
            "daemon_with_one_lane": lambda: daemon_fps(one_lane, pictures),
        }
        fps: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(ROUNDS):
            for name, measure in forms.items():
                fps[name].append(measure())
        one_lane.stop()
        yield from _ratios(fps)
        memory = psutil.Process(service.pid).memory_info().rss / 1e6
        yield Result(name="ingress_rss_mb", value=memory, target=300.0, at_most=True, detail={})
        yield from _paced(service, pictures, LOAD * float(np.median(fps["daemon"])))


def _ratios(fps: dict[str, list[float]]) -> Iterator[Result]:
    told: dict[str, Any] = {f"{name}_fps": [round(value, 2) for value in values] for name, values in fps.items()}
    for other, target in (("core", 0.9), ("core_in_lanes", None), ("daemon_with_one_lane", None)):
        yield Result(
            name=f"daemon_over_{other}_throughput",
            value=float(np.median(fps["daemon"]) / np.median(fps[other])),
            target=target,
            detail={"frames": FRAMES, **told} if target else {},
        )


def _core_fps(scorer: core.Scorer, bank: core.PreparedBank, pictures: Sequence[bytes]) -> float:
    """Decode and score with the batch size that is fastest here, as a library user would."""
    core.compute_with(CORES)
    best = 0.0
    for batch in (1, 4):
        started = time.perf_counter()
        for start in range(0, len(pictures), batch):
            images = [core.decode_image(data) for data in pictures[start : start + batch]]
            scorer.score(images, [bank] * len(images), want_map=_never)
        best = max(best, len(pictures) / (time.perf_counter() - started))
    return best


def _core_in_lanes_fps(scorer: core.Scorer, bank: core.PreparedBank, pictures: Sequence[bytes]) -> float:
    """Decode and score in a thread a core, each computing alone."""

    def score(data: bytes) -> None:
        scorer.score([core.decode_image(data)], [bank], want_map=_never)

    started = time.perf_counter()
    with ThreadPoolExecutor(CORES, initializer=core.compute_with, initargs=(1,)) as lanes:
        for done in [lanes.submit(score, data) for data in pictures]:
            done.result()
    return len(pictures) / (time.perf_counter() - started)


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
