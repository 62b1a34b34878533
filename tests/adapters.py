"""Linear layers as files, in the project's form and in the reference's, for the tiny lively CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from core.adapter import AdapterHeader, adapter_to_bytes
from core.presets import Activation
from tests.core.oracle import tiny
from tests.core.oracle.april_gan_numpy import Linear


def write_adapter(
    path: Path,
    linears: Sequence[Linear],
    *,
    stages: tuple[int, ...] = tiny.STAGES,
    activation: Activation = "gelu",
    tower_id: str | None = None,
) -> Path:
    """Save layers as the project's safetensors."""
    header = AdapterHeader(tower_id=tower_id, activation=activation, stages=stages, dataset="made up", training={})
    path.write_bytes(adapter_to_bytes(header, [tensors(linear) for linear in linears]))
    return path


def write_reference_adapter(path: Path, linears: Sequence[Linear]) -> Path:
    """Save layers as the reference code does."""
    state = {}
    for index, linear in enumerate(linears):
        state[f"fc.{index}.weight"], state[f"fc.{index}.bias"] = tensors(linear)
    torch.save({"trainable_linearlayer": state}, path)
    return path


def tensors(linear: Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (C, width) and bias (C,), float32."""
    return torch.from_numpy(linear.weight).float(), torch.from_numpy(linear.bias).float()
