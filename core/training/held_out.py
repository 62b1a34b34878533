"""How layers do on what they were not trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import torch

from core.bank import to_numpy
from core.metrics import PixelAccumulator
from core.training.feed import Batch
from core.training.losses import stage_loss


class HeldOutFigures(TypedDict):
    """loss: mean over batches, per stage. pixel_auroc: of the stages' sum, None where there is no defect."""

    loss: list[float]
    pixel_auroc: float | None


def held_out_figures(
    batches: Iterator[Batch], maps_of: Callable[[Batch], list[torch.Tensor]], spool: Path
) -> HeldOutFigures:
    """Figures of one or more batches; `maps_of` gives per stage (N, S, S). spool: a folder for pixels."""
    losses: list[list[float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="pixels-", dir=spool) as folder,
        PixelAccumulator(Path(folder)) as pixels,
    ):
        for batch in batches:
            maps = maps_of(batch)
            losses.append([float(stage_loss(p, batch.masks)) for p in maps])
            for summed, mask in zip(
                to_numpy(torch.stack(maps).sum(dim=0)), batch.masks.cpu().numpy(), strict=True
            ):
                pixels.add(summed, mask)
        figures = pixels.figures()
    means = [sum(stage) / len(losses) for stage in zip(*losses, strict=True)]
    return HeldOutFigures(loss=means, pixel_auroc=figures.auroc)
