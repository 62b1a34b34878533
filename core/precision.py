"""Which arithmetic a CPU computes in where nobody said: bfloat16 where it is quicker and tells the same.

bfloat16 halves a transformer's time on processors with units for it, and ruins a small CNN whose good parts lie
close together: `lite` in bfloat16 gives other verdicts for a tenth of the pictures. So nothing is taken for
granted of a machine or a tower: a fixed picture is encoded both ways, and what bfloat16 does to its distances is
held against how much they vary by themselves (docs/notes/0009-engine.md has the figures).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from core.image import Image
from core.neighbours import nearest_distance

if TYPE_CHECKING:
    from core.encoder import Features

Encode = Callable[[Sequence[Image]], "Features"]

UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls arithmetic units for bfloat16, the last of them on ARM."""
NOISE = 0.02
"""Largest root mean square of the change, as a share of the distances' own standard deviation.

`lite` has 0.18, and other verdicts for 9 % of real pictures; ViT-B-16 with random weights 0.003 to 0.004."""
GAIN = 1.2
"""bfloat16 must be this many times as fast: less is not worth another arithmetic than the plain one's."""
BUDGET_S = 1.0
SMALL_PARAMETERS = 1_000_000
"""A smaller tower's time goes into calls, not arithmetic: nothing to gain."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """bfloat16 beside float32 on this machine. noise: see NOISE, of the worst stage. gain: times as fast."""

    noise: float
    gain: float

    @property
    def agrees(self) -> bool:
        """Whether bfloat16 tells the same; not where the noise is NaN."""
        return self.noise <= NOISE

    @property
    def chosen(self) -> torch.dtype:
        """What "auto" takes."""
        return torch.bfloat16 if self.agrees and self.gain >= GAIN else torch.float32

    @property
    def reason(self) -> str:
        """The choice as a sentence for a log."""
        if not self.agrees:
            return f"float32: bfloat16 changes distances by {self.noise:.2g} of their spread, allowed is {NOISE}"
        times = f"bfloat16 is {self.gain:.2f} times as fast"
        if self.chosen is torch.float32:
            return f"float32: {times}, worth it from {GAIN}"
        return f"bfloat16: {times} and changes distances by {self.noise:.2g} of their spread"


def has_bfloat16_units(cpuinfo: str | None = None) -> bool:
    """Whether this processor says it has units for bfloat16. cpuinfo: Linux's text, None reads it; "" has none."""
    if cpuinfo is None:
        cpuinfo = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    return bool(UNITS & _flags(cpuinfo))


def _flags(cpuinfo: str) -> set[str]:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((set(said.split()) for name, _, said in lines if name.strip() in {"flags", "Features"}), set())


def try_bfloat16(plain: Encode, fast: Encode, *, size: int) -> Trial:
    """Encode the fixed picture in float32 (`plain`) and in bfloat16 (`fast`), compare and time.

    size: pixels a side. Takes at most BUDGET_S after the first picture each, which warms up and is compared; where
    one takes longer than that, the comparison's own times count.
    """
    picture = [probe_picture(size)]
    times: dict[str, list[float]] = {"plain": [], "fast": []}

    def timed(name: str, encode: Encode) -> Features:
        start = time.perf_counter()
        features = encode(picture)
        times[name].append(time.perf_counter() - start)
        return features

    noise = distance_noise(timed("plain", plain), timed("fast", fast))
    ends = time.perf_counter() + BUDGET_S
    while noise <= NOISE and time.perf_counter() + times["plain"][-1] + times["fast"][-1] < ends:
        timed("plain", plain)
        timed("fast", fast)
    return Trial(noise=noise, gain=min(times["plain"]) / min(times["fast"]))


def distance_noise(plain: Features, fast: Features) -> float:
    """The worst stage's change of distances, as a share of their spread; NaN where either is not finite.

    Distances are of a picture's left half from its right half, each way of computing with its own: one pass tells
    what a bank would.
    """
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
