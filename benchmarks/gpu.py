"""The engine on a GPU (`make bench-gpu`): ViT-L-14 at 518, random weights, 4 references, frames in host memory.

Rates are held against the bf16 matrix rate that the same run measures. Where there is no GPU every row says
"not measured". `measured` itself takes any encoder on any device, so that a test walks it with a tiny one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

import core
from benchmarks.random_clip import RandomClip, pictures, random_clip, samples
from benchmarks.result import NO_GPU, Result
from benchmarks.vit_l_plain_form import MODEL, SHOTS, PlainForm
from core.presets import PRESETS
from core.scorer import never

TARGETS: dict[str, tuple[float, bool]] = {
    "gpu_flop_rate_over_bf16_matrix_rate": (0.6, False),
    "gpu_frames_over_plain_form": (20.0, False),
    "gpu_one_frame_p99_ms": (15.0, True),
    "gpu_match_time_over_encode": (0.08, True),
    "gpu_match_extra_memory_over_bank": (0.10, True),
}
"""Name to target and whether it is an upper bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is measured. batch: frames in one. matrix: side of the square bf16 product."""

    batch: int = 16
    batches: int = 30
    singles: int = 300
    plain_frames: int = 3
    matrix: int = 8192


def results() -> Iterator[Result]:
    """All rows of the H100's table that the library alone answers for."""
    if not torch.cuda.is_available():
        for name, (target, at_most) in TARGETS.items():
            yield Result(
                name=name, value=None, target=target, at_most=at_most, detail={"why": "not measured: no GPU"}
            )
        return
    with random_clip(MODEL) as clip:
        yield from measured(clip, device="cuda", size=PRESETS["april-gan"].image_size, amount=Amount())


def measured(clip: RandomClip, *, device: str, size: int, amount: Amount) -> Iterator[Result]:
    """The rows of one encoder on one device; memory is only known of a GPU."""
    scorer, plain = (_scorer(clip, size, *where) for where in ((device, "bfloat16"), (device, "float32")))
    place = scorer.encoder.torch_device
    gpu = torch.cuda.get_device_name(place) if place.type == "cuda" else NO_GPU
    bank = core.enrol(scorer, samples(SHOTS, size), product="noise", object_name="noise", embed=clip.words).bank
    prepared, frames = scorer.prepare(bank), pictures(amount.batch, size)

    def row(name: str, value: float | None, **detail: object) -> Result:
        target, at_most = TARGETS[name]
        return Result(name=name, value=value, target=target, at_most=at_most, gpu=gpu, detail=detail)

    rate = matrix_rate(place, amount.matrix)
    fps = amount.batch / median(_seconds(lambda: _scores(scorer, frames, prepared), amount.batches, place))
    yield row(
        "gpu_flop_rate_over_bf16_matrix_rate",
        fps * clip.flop(size) / rate,
        fps=round(fps, 2),
        gflop_a_frame=round(clip.flop(size) / 1e9, 1),
        matrix_tflops=round(rate / 1e12, 2),
        batch=amount.batch,
    )
    yield row("gpu_frames_over_plain_form", fps * _plain_seconds(plain, bank, frames, amount), fps=round(fps, 2))
    singles = _seconds(lambda: _scores(scorer, frames[:1], prepared), amount.singles, place)
    p50, p99 = (round(1e3 * float(np.percentile(singles, share)), 3) for share in (50, 99))
    yield row("gpu_one_frame_p99_ms", p99, p50_ms=p50, frames=amount.singles)
    yield row("gpu_match_time_over_encode", _match_share(scorer, prepared, frames, amount))
    yield row("gpu_match_extra_memory_over_bank", _extra_memory(scorer, prepared, frames), frames=1)


def matrix_rate(place: torch.device, side: int) -> float:
    """bf16 products of two (side, side) matrices, in operations a second, on random numbers."""
    one, other = (torch.randn(side, side, device=place, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * side**3 / median(_seconds(lambda: one @ other, 20, place))


def _scorer(clip: RandomClip, size: int, device: str, precision: core.encoder.Precision) -> core.Scorer:
    encoder = core.load_encoder(
        str(clip.config), weights=clip.weights, device=device, image_size=size, precision=precision
    )
    return core.Scorer(encoder, method="april-gan", adapter=clip.adapter(encoder.stages))


def _scores(scorer: core.Scorer, frames: list[core.image.Image], bank: core.PreparedBank) -> object:
    return scorer.score(frames, [bank] * len(frames), want_map=never)


def _plain_seconds(
    scorer: core.Scorer, bank: core.ReferenceBank, frames: list[core.image.Image], amount: Amount
) -> float:
    """A frame by the authors' steps: the passes on the device, the cosine on the CPU."""
    form = PlainForm(scorer, bank)
    return median(_seconds(lambda: form.frame(frames[0]), amount.plain_frames, torch.device("cpu")))


def _match_share(
    scorer: core.Scorer, bank: core.PreparedBank, frames: list[core.image.Image], amount: Amount
) -> float:
    place = scorer.encoder.torch_device
    features = scorer.encode(frames)
    encode = median(_seconds(lambda: scorer.encode(frames), amount.batches, place))
    match = median(
        _seconds(lambda: scorer.match(features, [bank] * len(frames), want_map=never), amount.batches, place)
    )
    return match / encode


def _extra_memory(scorer: core.Scorer, bank: core.PreparedBank, frames: list[core.image.Image]) -> float | None:
    """Peak of a frame's match beyond what was there before, over the bank; None on a CPU, which does not tell."""
    place = scorer.encoder.torch_device
    if place.type != "cuda":
        return None
    features = scorer.encode(frames[:1])
    torch.cuda.reset_peak_memory_stats(place)
    before = torch.cuda.memory_allocated(place)
    scorer.match(features, [bank], want_map=never)
    return (torch.cuda.max_memory_allocated(place) - before) / bank.size_bytes


def _seconds(thing: Callable[[], object], rounds: int, place: torch.device) -> list[float]:
    """Each of `rounds` runs to the end of its work on the device, after two that nobody counts."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        thing()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        times.append(time.perf_counter() - start)
    return times[2:]
