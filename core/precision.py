"""Which arithmetic a CPU computes in where nobody said: the quickest that tells the same as float32.

bfloat16 halves a transformer's time on processors with units for it, 8-bit products take another third off, and
either may ruin a tower: `lite` in bfloat16 gives other verdicts for a tenth of the pictures, a ViT with a few
channels far larger than the rest loses its digits in 8 bits. So nothing is taken for granted of a machine or a
tower: a fixed picture is encoded each way, and what a way does to its distances is held against how much they vary
by themselves (docs/notes/0009-engine.md has the figures).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from core.image import Image
from core.neighbours import nearest_distance

if TYPE_CHECKING:
    from core.features import Features

Encode = Callable[[Sequence[Image]], "Features"]

UNITS = {
    torch.bfloat16: frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    torch.int8: frozenset({"avx512_vnni", "amx_int8"}),
}
"""What Linux calls arithmetic units, "bf16" those of ARM.

Without its own, an 8-bit product takes a thousand times as long: it must not even be tried."""
NOISE = 0.02
"""Largest root mean square of the change, as a share of the distances' own standard deviation.

`lite` has 0.18, and other verdicts for 9 % of real pictures; ViT-B-16 with random weights 0.003 to 0.004."""
GAIN = 1.2
"""A coarser arithmetic must be this many times as fast as the finer one that it would replace."""
BUDGET_S = 1.0
SMALL_PARAMETERS = 1_000_000
"""A smaller tower's time goes into calls, not arithmetic: nothing to gain."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An arithmetic beside float32 on this machine. noise: see NOISE, of the worst stage. gain: times as fast."""

    noise: float
    gain: float

    @property
    def agrees(self) -> bool:
        """Whether it tells the same; not where the noise is NaN."""
        return self.noise <= NOISE


def choose(trials: Mapping[torch.dtype, Trial]) -> torch.dtype:
    """What "auto" takes. trials: from the finest arithmetic to the coarsest."""
    chosen, gain = torch.float32, 1.0
    for dtype, trial in trials.items():
        if trial.agrees and trial.gain >= GAIN * gain:
            chosen, gain = dtype, trial.gain
    return chosen


def reason(trials: Mapping[torch.dtype, Trial]) -> str:
    """The choice as a sentence for a log, with all that it was made from."""
    found = [
        f"{name(dtype)} is {trial.gain:.2f} times as fast and changes distances by {trial.noise:.2g}"
        for dtype, trial in trials.items()
    ]
    return f"{name(choose(trials))}: {', '.join(found)} of their spread (from {GAIN} times on, to at most {NOISE})"


def name(dtype: torch.dtype) -> str:
    """ "float32", "bfloat16" or "int8": a precision as settings and banks name it."""
    return str(dtype).removeprefix("torch.")


def has_units(dtype: torch.dtype, cpuinfo: str | None = None) -> bool:
    """Whether this processor says it has units for an arithmetic. cpuinfo: Linux's text, None reads it."""
    if cpuinfo is None:
        cpuinfo = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    return bool(UNITS[dtype] & _flags(cpuinfo))


def _flags(cpuinfo: str) -> set[str]:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((set(said.split()) for name, _, said in lines if name.strip() in {"flags", "Features"}), set())


def try_precisions(plain: Encode, others: Mapping[torch.dtype, Encode], *, size: int) -> dict[torch.dtype, Trial]:
    """Encode the fixed picture in float32 (`plain`, warm already) and in the others, compare and time, in turn.

    size: pixels a side. What does not agree is timed no further; what does runs a second time, as its first warms
    up, and all of them go on in turn while BUDGET_S lasts. Times are the processor's; what else the machine does
    disturbs them less than the clock's, and not a little: threads that wait for each other are counted as busy.
    """
    picture = [probe_picture(size)]
    times: dict[torch.dtype, list[float]] = {torch.float32: [], **{dtype: [] for dtype in others}}

    def timed(dtype: torch.dtype, encode: Encode) -> Features:
        start = time.process_time()
        features = encode(picture)
        times[dtype].append(time.process_time() - start)
        return features

    exact = timed(torch.float32, plain)
    noise = {dtype: distance_noise(exact, timed(dtype, encode)) for dtype, encode in others.items()}
    agreeing = {dtype: encode for dtype, encode in others.items() if noise[dtype] <= NOISE}
    for dtype, encode in agreeing.items():
        timed(dtype, encode)
    in_turn = {torch.float32: plain, **agreeing} if agreeing else {}
    left_s = BUDGET_S
    while in_turn and (left_s := left_s - sum(times[dtype][-1] for dtype in in_turn)) > 0:
        for dtype, encode in in_turn.items():
            timed(dtype, encode)
    fastest = {dtype: min(took) for dtype, took in times.items()}
    return {dtype: Trial(noise=noise[dtype], gain=fastest[torch.float32] / fastest[dtype]) for dtype in others}


def distance_noise(plain: Features, fast: Features) -> float:
    """The worst stage's change of distances, as a share of their spread.

    NaN where either is not finite, and where a stage has no two columns to compare. Distances are of a picture's
    left half from its right half, each way of computing with its own: one pass tells what a bank would.
    """
    if any(width < 2 for _, width in plain.grids):
        return float("nan")
    shares = []
    for stage, (one, other) in enumerate(zip(plain.stages, fast.stages, strict=True)):
        expected, got = (_from_half_to_half(tokens, plain.grids[stage]) for tokens in (one, other))
        shares.append(float((got - expected).square().mean().sqrt() / expected.std()))
    return max(shares) if all(np.isfinite(shares)) else float("nan")


def _from_half_to_half(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    plane = torch.nn.functional.normalize(tokens[0].float(), dim=-1).view(*grid, -1)
    left, right = plane.tensor_split(2, dim=1)
    return nearest_distance(left.flatten(0, 1), right.flatten(0, 1))


def probe_picture(size: int) -> Image:
    """A fixed (size, size, 3) uint8 RGB picture with something at every scale: fractal noise in three colours."""
    noise = np.random.default_rng(20261121)
    total = np.zeros((size, size, 3), dtype=np.float32)
    for octave in range(1, 7):
        side = min(size, 2**octave + 1)
        coarse = noise.standard_normal((side, side, 3)).astype(np.float32)
        total += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) / np.float32(octave)
    return np.clip(128 + 40 * total, 0, 255).astype(np.uint8)
