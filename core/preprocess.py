"""Pictures to the encoder's input: bicubic squash to a square, RGB, mean and std.

The papers' pipeline resizes with Pillow, which filters in two passes and rounds to whole levels after
each. torch's uint8 kernel does the same (within 2 levels of Pillow, docs/notes/0002-preprocess.md) and is
30 times faster on a CPU than its float kernel; a GPU has the float kernel only, so there the two passes
are done one by one with the same rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from core.errors import ImageError
from core.image import Image


def to_input(
    images: Sequence[Image],
    *,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
) -> torch.Tensor:
    """Squash and normalise.

    images: N arrays (H, W, 3) uint8 RGB, sizes may differ. Returns (N, 3, size, size) float32 on `device`.
    Each picture is resized on its own, so its pixels never depend on its company.

    Raises ImageError for another shape or dtype.
    """
    squashed = torch.cat([squash(image, size=size, device=device) for image in images])
    scale = torch.tensor(std, device=device).mul(255.0).reciprocal().view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=device).div(torch.tensor(std, device=device)).view(1, 3, 1, 1)
    return squashed.float().mul_(scale).sub_(shift)


def squash(image: Image, *, size: int, device: torch.device) -> torch.Tensor:
    """One (H, W, 3) uint8 RGB array to (1, 3, size, size) uint8, bicubic with antialias, aspect ratio lost."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"expected an (H, W, 3) uint8 RGB array, got {image.shape} {image.dtype}")
    pixels = _on_device(torch.from_numpy(np.ascontiguousarray(image)), device).permute(2, 0, 1)[None]
    if device.type == "cpu":
        return _bicubic(pixels, (size, size))
    across = _bicubic(pixels.float(), (image.shape[0], size)).round_().clamp_(0, 255)
    return _bicubic(across, (size, size)).round_().clamp_(0, 255).to(torch.uint8)


def _on_device(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """To a GPU through page-locked memory, so that the copy runs while the next picture is prepared.

    torch lends such memory from a pool and takes it back once the copy has run: it is double buffered by that.
    """
    return pixels if device.type == "cpu" else pixels.pin_memory().to(device, non_blocking=True)


def _bicubic(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False)
