"""One training of linear layers: how far it came, and one epoch more."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from core.adapter import centred
from core.anomaly_map import upsample
from core.encoder import Encoder
from core.errors import TrainingError
from core.training.checkpoint import CheckpointFile
from core.training.examples import Split, shuffled_truths
from core.training.feed import Batch, Feed
from core.training.held_out import held_out_figures
from core.training.losses import stage_loss
from core.training.options import TrainingOptions
from core.training.progress import Observer, Step
from core.training.stitching import Draw, draw_epoch
from core.training.token_cache import TokenCache
from core.zero_shot import TEMPERATURE

PHASE = "linear layers"


class LinearLayers(nn.Module):
    """One `Linear(C_s -> E)` a stage. Initial weights are torch's, from the seed. centred: see core.adapter."""

    def __init__(self, widths: Sequence[int], embedding_width: int, *, seed: int, centred: bool = False) -> None:
        super().__init__()
        self._centred = centred
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stages = nn.ModuleList(nn.Linear(width, embedding_width) for width in widths)

    def forward(
        self,
        stages: Sequence[torch.Tensor],
        grids: Sequence[tuple[int, int]],
        apart: torch.Tensor,
        size: int,
    ) -> list[torch.Tensor]:
        """Per stage (N, size, size) abnormal probabilities: upsampled logits, then the softmax over two states.

        stages: per stage (N, L_s, C_s) float32 tokens. apart: (N, E), `F_abnormal - F_normal` of each picture's
        class: the softmax over two states is the sigmoid of the logits' difference.
        """
        maps = []
        for layer, tokens, grid in zip(self.stages, stages, grids, strict=True):
            taken = centred(tokens) if self._centred else tokens
            logits = TEMPERATURE * torch.einsum("nle,ne->nl", normalize(layer(taken), dim=-1), apart)
            maps.append(torch.sigmoid(upsample(logits.reshape(-1, *grid), size)))
        return maps


class LinearRun:
    """Layers, their optimizer, and the epoch they are in.

    layers: as trained so far. epoch: to run next, or in progress, from 1; 0 only measures what is held out, before
    training. history: one entry an epoch: `loss` a stage, mean over examples; `held_out` figures.
    """

    def __init__(
        self,
        encoder: Encoder,
        text: Mapping[str, torch.Tensor],
        parts: Split,
        options: TrainingOptions,
        cache: TokenCache | None,
        checkpoint: CheckpointFile,
    ) -> None:
        self._encoder, self._parts, self._options, self._checkpoint = encoder, parts, options, checkpoint
        self._apart = {name: (rows[1] - rows[0]).to(encoder.torch_device) for name, rows in text.items()}
        seen = shuffled_truths(parts.seen, options.seed) if options.shuffle_labels else parts.seen
        self._feed, self._held_out_feed = Feed(encoder, seen, cache), Feed(encoder, parts.held_out, cache)
        widths = [width for _, _, width in encoder.stage_shapes]
        layers = LinearLayers(widths, encoder.embedding_width or 0, seed=options.seed, centred=options.centred)
        self.layers = layers.to(encoder.torch_device)
        self._optimizer = torch.optim.Adam(self.layers.parameters(), lr=options.learning_rate, betas=options.betas)
        self.epoch, self._batch = 0, 0
        self._sums = [0.0] * len(widths)
        self.history: list[dict[str, Any]] = []
        self._resume()

    def run_epoch(self, observe: Observer, checkpoint_seconds: float) -> None:
        """Run the epoch, or what is left of it, measure what is held out, and keep a checkpoint."""
        batches = self._batches()
        saved = time.monotonic()
        for batch in self._feed.batches(batches[self._batch :]):
            loss = self._step(batch)
            self._batch += 1
            observe(self._news(loss))
            if time.monotonic() - saved >= checkpoint_seconds:
                self._save()
                saved = time.monotonic()
        self._close_epoch()
        observe(self._news(sum(self.history[-1]["loss"]), remark=_remark(self.history[-1])))

    def _batches(self) -> list[list[Draw]]:
        """The epoch's draws; none before training."""
        options = self._options
        if self.epoch == 0:
            return []
        probability = options.stitch_probability
        draws = draw_epoch(self._parts.seen, seed=options.seed, epoch=self.epoch, probability=probability)
        return [draws[start : start + options.batch] for start in range(0, len(draws), options.batch)]

    def _step(self, batch: Batch) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        losses = [stage_loss(p, batch.masks) for p in self._maps(batch)]
        loss = torch.stack(losses).sum()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at epoch {self.epoch}, batch {self._batch + 1}; a learning rate below "
                f"{self._options.learning_rate:g} may do"
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        for stage, part in enumerate(losses):
            self._sums[stage] += float(part.detach()) * len(batch.names)
        return value

    def _learning_rate(self) -> float:
        """Of the step that comes next."""
        options = self._options
        if options.schedule == "constant":
            return options.learning_rate
        share = self._steps_done() / (options.epochs * self._steps_an_epoch())
        return options.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _steps_an_epoch(self) -> int:
        return math.ceil(len(self._parts.seen) / self._options.batch)

    def _steps_done(self) -> int:
        return max(0, self.epoch - 1) * self._steps_an_epoch() + self._batch

    def _maps(self, batch: Batch) -> list[torch.Tensor]:
        grids = [(height, width) for height, width, _ in self._encoder.stage_shapes]
        apart = torch.stack([self._apart[name] for name in batch.names])
        maps: list[torch.Tensor] = self.layers(batch.stages, grids, apart, self._encoder.image_size)
        return maps

    def _close_epoch(self) -> None:
        means = [total / len(self._parts.seen) for total in self._sums] if self.epoch else []
        held_out = None
        if self._parts.held_out:
            with torch.no_grad():
                held_out = held_out_figures(self._held_out_batches(), self._maps, self._checkpoint.path.parent)
        self.history.append({"epoch": self.epoch, "loss": means, "held_out": held_out})
        self.epoch, self._batch, self._sums = self.epoch + 1, 0, [0.0] * len(self._sums)
        self._save()

    def _held_out_batches(self) -> Iterator[Batch]:
        size, count = self._options.batch, len(self._parts.held_out)
        return self._held_out_feed.batches(
            [[(index,) for index in range(start, min(start + size, count))] for start in range(0, count, size)]
        )

    def _news(self, loss: float, remark: str = "") -> Step:
        total = self._options.epochs * self._steps_an_epoch()
        return Step(phase=PHASE, done=self._steps_done(), total=total, loss=loss, remark=remark)

    def _save(self) -> None:
        position = {"epoch": self.epoch, "batch": self._batch, "sums": self._sums, "history": self.history}
        self._checkpoint.save(self.layers, self._optimizer, position)

    def _resume(self) -> None:
        position = self._checkpoint.load(self.layers, self._optimizer)
        if position is not None:
            self.epoch, self._batch = position["epoch"], position["batch"]
            self._sums, self.history = position["sums"], position["history"]


def _remark(entry: Mapping[str, Any]) -> str:
    """An epoch's figures for a person."""
    parts = [f"epoch {entry['epoch']}" if entry["epoch"] else "before training"]
    if entry["loss"]:
        parts.append(f"loss {_by_stage(entry['loss'])}")
    if entry["held_out"]:
        auroc = entry["held_out"]["pixel_auroc"]
        parts.append(f"held out: loss {_by_stage(entry['held_out']['loss'])}")
        parts.append(f"pixel AUROC {'undefined' if auroc is None else f'{auroc:.4f}'}")
    return ", ".join(parts)


def _by_stage(losses: Sequence[float]) -> str:
    return " + ".join(f"{loss:.4f}" for loss in losses)
