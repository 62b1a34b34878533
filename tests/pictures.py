"""Made-up pictures: a woven texture, and the same with a hole in it."""

from __future__ import annotations

import numpy as np

from core.flow import Sample


def weave(seed: int, *, size: tuple[int, int] = (48, 64), hole: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 RGB. The seed moves phase, light and noise; `hole` burns a dark square into it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    phase = rng.uniform(0, 2 * np.pi, 2)
    cloth = 0.5 + 0.2 * np.sin(x * 0.9 + phase[0]) + 0.2 * np.sin(y * 0.9 + phase[1])
    picture = np.stack([cloth, cloth * 0.9, cloth * 0.8], axis=-1) * rng.uniform(0.95, 1.05)
    picture += rng.normal(0, 0.02, picture.shape)
    if hole:
        top, left = size[0] // 3, size[1] // 3
        picture[top : top + size[0] // 3, left : left + size[1] // 3] = 0.0
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def samples(count: int, *, first: int = 0, size: tuple[int, int] = (48, 64)) -> list[Sample]:
    """Good samples with different seeds."""
    return [Sample.from_array(f"good-{seed}", weave(seed, size=size)) for seed in range(first, first + count)]
