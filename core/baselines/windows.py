"""WinCLIP's view of a picture: every small window of patches, encoded as if nothing else were there.

It runs a core.Encoder's own ViT modules from the side; the encoder is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from core.encoder import Encoder
from core.errors import EncoderError
from core.image import Image

BLOCK_WINDOWS = 1024
"""Windows that go through the transformer together: bounds memory; ViT-L at 518 px has 1296 of side 2."""

VIT_PARTS = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "transformer", "ln_post", "proj")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowFeatures:
    """What WinCLIP sees of N pictures, float32 and unit length.

    image: (N, E), the plain image embedding. windows: per side k an (N, (h - k + 1) (w - k + 1), E) embedding of
    every k x k window at stride 1, row-major. patches: (N, h * w, C), tokens after the last norm and before the
    projection. grid: (h, w). sides: the windows' k, in patches.
    """

    image: torch.Tensor
    windows: tuple[torch.Tensor, ...]
    patches: torch.Tensor
    grid: tuple[int, int]
    sides: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.image.shape[0])


class WindowEncoder:
    """Encodes pictures into WindowFeatures (WinCLIP section 4.2; windows of 2 and 3 patches a side).

    Raises EncoderError for a tower that is not a class-token ViT, or whose grid is smaller than a window.
    """

    def __init__(self, encoder: Encoder, *, sides: Sequence[int] = (2, 3)) -> None:
        tower: Any = encoder.tower
        _check_vit(tower, encoder.spec.name)
        self.encoder = encoder
        self.sides = tuple(sides)
        self.grid: tuple[int, int] = tuple(tower.grid_size)
        if not self.sides or not 1 <= min(self.sides) <= max(self.sides) <= min(self.grid):
            raise EncoderError(f"expected windows of 1 to {min(self.grid)} patches a side, got {list(self.sides)}")
        self._tower = tower

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> WindowFeatures:
        """Encode N arrays (H, W, 3) uint8 RGB."""
        tokens = self._embed(self.encoder.preprocess(images).to(self.encoder.dtype))
        whole = self._tower.ln_post(self._tower.transformer(tokens))
        return WindowFeatures(
            image=_unit(whole[:, 0] @ self._tower.proj),
            windows=tuple(self._encode_windows(tokens, side) for side in self.sides),
            patches=_unit(whole[:, 1:]),
            grid=self.grid,
            sides=self.sides,
        )

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) to the transformer's input (N, 1 + h * w, C): the class token first."""
        tower = self._tower
        patches = tower.conv1(pixels).flatten(2).transpose(1, 2)
        first = tower.class_embedding.expand(patches.shape[0], 1, -1)
        tokens: torch.Tensor = tower.ln_pre(torch.cat([first, patches], dim=1) + tower.positional_embedding)
        return tokens

    def _encode_windows(self, tokens: torch.Tensor, side: int) -> torch.Tensor:
        """(N, W, E): the transformer sees the class token and one window's patches, each at its own position."""
        members = window_members(self.grid, side).to(tokens.device)
        patches = tokens[:, 1:][:, members]
        first = tokens[:, None, :1].expand(-1, members.shape[0], -1, -1)
        sequences = torch.cat([first, patches], dim=2).flatten(0, 1)
        classes = [self._tower.transformer(block)[:, 0] for block in torch.split(sequences, BLOCK_WINDOWS)]
        embeddings = self._tower.ln_post(torch.cat(classes)) @ self._tower.proj
        return _unit(embeddings).view(tokens.shape[0], members.shape[0], -1)


def window_members(grid: tuple[int, int], side: int) -> torch.Tensor:
    """(W, side * side) int64: the patches of every window at stride 1, windows and patches row-major."""
    places = torch.arange(grid[0] * grid[1]).view(grid)
    return places.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side * side)


def _check_vit(tower: Any, name: str) -> None:
    missing = [part for part in VIT_PARTS if getattr(tower, part, None) is None]
    if missing:
        raise EncoderError(f"WinCLIP drops patches, so it needs a ViT; {name}'s tower has no {', '.join(missing)}")
    if tower.pool_type != "tok" or tower.attn_pool is not None:
        raise EncoderError(f"WinCLIP needs a ViT that embeds by its class token; {name}'s tower pools its patches")


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors.float(), dim=-1)
