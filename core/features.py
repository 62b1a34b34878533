"""What an image tower gives for a batch of pictures, and how parts of it are taken and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from core.presets import TokenPath


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What one forward pass gives for N pictures.

    stages: per stage (N, L_s, C_s) tokens, row-major over the grid, not normalised.
    grids: per stage (h_s, w_s), L_s = h_s * w_s.
    image: (N, E) float32 unit-length image embedding, or None where the tower has none to compare with text.
    surgery: per stage (N, 1 + L_s, E) of CLIP-AD's second path, CLS first; empty unless a method asked for it.
    """

    stages: tuple[torch.Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    image: torch.Tensor | None
    surgery: tuple[torch.Tensor, ...] = ()

    def __len__(self) -> int:
        return int(self.stages[0].shape[0])

    def rows(self, rows: Sequence[int]) -> Features:
        """The features of some of the pictures, in the order asked for."""
        chosen = list(rows)
        return Features(
            stages=tuple(stage[chosen] for stage in self.stages),
            grids=self.grids,
            image=None if self.image is None else self.image[chosen],
            surgery=tuple(stage[chosen] for stage in self.surgery),
        )

    def along(self, path: TokenPath) -> Features:
        """The same with the tokens of a path as its stages; "vv" is CLIP-AD's second, without its class token."""
        return self if path == "residual" else replace(self, stages=tuple(stage[:, 1:] for stage in self.surgery))

    def as_one(self) -> Features:
        """All stages as one: pooled to the last one's grid, made unit, and joined channel by channel."""
        pooled = [
            _pooled(tokens, grid, self.grids[-1]) for tokens, grid in zip(self.stages, self.grids, strict=True)
        ]
        joined_tokens = torch.cat([nn.functional.normalize(tokens, dim=-1) for tokens in pooled], dim=-1)
        return replace(self, stages=(joined_tokens,), grids=self.grids[-1:])

    def of_stages(self, places: Sequence[int]) -> Features:
        """The same with some of the stages, by their places in `stages`."""
        return replace(
            self,
            stages=tuple(self.stages[place] for place in places),
            grids=tuple(self.grids[place] for place in places),
        )


def _pooled(tokens: torch.Tensor, grid: tuple[int, int], to: tuple[int, int]) -> torch.Tensor:
    """(N, h * w, C) to (N, h' * w', C) float32: the mean of the tokens that a coarser one covers."""
    if grid == to:
        return tokens.float()
    plane = tokens.float().transpose(1, 2).reshape(len(tokens), -1, *grid)
    return nn.functional.adaptive_avg_pool2d(plane, to).flatten(2).transpose(1, 2)


def joined(parts: Sequence[Features]) -> Features:
    """Features of several batches of one encoder as those of one batch."""
    images = [part.image for part in parts if part.image is not None]
    return Features(
        stages=tuple(torch.cat(stage) for stage in zip(*(part.stages for part in parts), strict=True)),
        grids=parts[0].grids,
        image=torch.cat(images) if images else None,
        surgery=tuple(torch.cat(stage) for stage in zip(*(part.surgery for part in parts), strict=True)),
    )
