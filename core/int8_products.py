"""`x W^T + b` in 8-bit integers on a CPU: half a bfloat16 product's time, some of its accuracy.

Weights have a scale an output channel, activations one a row (a token), found as it comes: nothing is calibrated,
and a picture's numbers never depend on its company. Sums are exact 32-bit integers. Whether a tower bears it is
found out by core.precision, never assumed: channels far larger than the rest cost the others their digits.
"""

from __future__ import annotations

import torch

WEIGHT_LEVELS = 127
ROW_LEVELS = 126
"""One below the largest that fits: a scale in bfloat16 is up to 1/256 too small, and 128 would wrap round."""
ZERO = 128
"""Activations go as unsigned bytes around this: what the processor's VNNI instructions multiply.

Turning over the topmost bit of a signed byte adds it."""


def multiplies_int8() -> bool:
    """Whether this torch has the product, from its oneDNN build. Whether it is quick is the processor's affair."""
    return hasattr(torch.ops.onednn, "qlinear_pointwise") and hasattr(torch.ops.onednn, "qlinear_prepack")


class Int8Product:
    """weight: (O, I), bias: (O,), floating point on the CPU. Call it with (..., I) for (..., O) of x's dtype."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        exact = weight.detach().float()
        self._scale = exact.abs().amax(dim=1).clamp_(min=torch.finfo(torch.float32).tiny) / WEIGHT_LEVELS
        levels = (exact / self._scale[:, None]).round_().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(levels, None)
        self._zeros = torch.zeros(len(levels), dtype=torch.int32)
        self._bias = bias.detach()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """A row that is not finite gives a row that is not."""
        rows = x.reshape(-1, x.shape[-1])
        largest = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
        scale = largest.clamp_(min=torch.finfo(x.dtype).tiny) / ROW_LEVELS
        levels = (rows / scale).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(ZERO)
        product = torch.ops.onednn.qlinear_pointwise(
            levels, 1.0, ZERO, self._packed, self._scale, self._zeros, None, 1.0, 0, x.dtype, "none", [], ""
        )
        return torch.addcmul(self._bias, product, scale).view(*x.shape[:-1], -1)
