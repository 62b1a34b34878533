"""Words for an encoder that has only eyes: a text tower and an image projection beside a locked trunk.

Locked-image tuning (arXiv 2111.07991): pictures go through the frozen trunk once, then only their pooled features
are needed. Each step pairs pictures with captions and takes the softmax over the batch both ways; a picture may
have several true captions and a caption several pictures, which then share the target evenly.

The learnt temperature is clipped from above at scoring's 100 (core.zero_shot.TEMPERATURE) and from below at a
floor that rises to it, so the last tenth of the training sees just the probabilities that scoring will.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import nn
from torch.nn.functional import normalize

from core.datasets import Dataset, read_image
from core.device import choose_device
from core.encoder import Encoder
from core.errors import TrainingError
from core.metrics import image_figures
from core.presets import EncoderSpec
from core.text import TextEncoder, april_gan_text_features
from core.towers import WORDS_METADATA, build_words, clip_tokenizer, trunk_sha256, vocabulary
from core.training.captions import Captioner, Names, class_names
from core.training.checkpoint import CHECKPOINT_SECONDS, CheckpointFile
from core.training.examples import Example, Split, split
from core.training.options import WordsOptions
from core.training.progress import Observer, Step, unobserved
from core.training.read_ahead import in_order
from core.training.record import data_record, versions
from core.training.work_folder import WORDS_CHECKPOINT
from core.zero_shot import TEMPERATURE, text_score

PHASE = "words"
SCHEMA_VERSION = 1
FIRST_SCALE = 1 / 0.07
"""CLIP's initial logit scale."""
FLOOR_REACHES_TOP = 0.9
"""Share of the steps after which the scale can be nothing but scoring's."""
REPORTS = 20
"""Entries of the record's history."""


def train_words(
    spec: EncoderSpec,
    dataset: Dataset,
    options: WordsOptions,
    *,
    work: Path,
    names: Names | None = None,
    device: str = "auto",
    observe: Observer = unobserved,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> bytes:
    """The words file of a spec: safetensors in float16 under open_clip's names, all but the trunk.

    spec: one whose words are packaged apart ("lite"). names: what else objects of a class are called. work: an
    existing folder for this training alone, with the checkpoint from which a killed one goes on.

    Raises EncoderError for another spec, TrainingError (nothing to learn, a loss that is not finite),
    MismatchError for a checkpoint of another training, DatasetError for a file that cannot be read.
    """
    parts, digest, names = split(dataset, options.hold_out), dataset.digest(), names or {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = build_words(spec)
    trunk, place, visual = trunk_sha256(model), choose_device(device), cast(nn.Module, model.visual)
    words, tokenize = Words(model).to(place), clip_tokenizer(spec)
    pooled = pooled_features(Encoder(visual, spec, device=place, dtype=torch.float32), parts, observe)
    captioner = Captioner(parts.seen, vocabulary(), names=names, own_name=options.own_name, seed=options.seed)
    training = _Training(words, tokenize, captioner, pooled[: len(parts.seen)], options)
    about = {"trunk": trunk, "config": spec.model, "data": digest, "image_size": spec.image_size}
    identity = {"training": PHASE, **about, "device": place.type, "names": dict(names), **asdict(options)}
    training.run(CheckpointFile(path=work / WORDS_CHECKPOINT, identity=identity), observe, checkpoint_seconds)
    record = {
        **data_record(dataset, digest, parts),
        "image_size": spec.image_size,
        "device": place.type,
        "options": asdict(options),
        "names": {kind: list(more) for kind, more in names.items()},
        "history": training.history,
        "held_out": _held_out(words, tokenize, pooled[len(parts.seen) :], parts.held_out, names),
        "versions": versions(),
    }
    return _to_bytes(words, {"schema": SCHEMA_VERSION, "config": spec.model, "trunk": trunk, "training": record})


class Words(nn.Module):
    """What is trained of a CLIP: everything but the image trunk, which is taken off the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head: nn.Module = copy.deepcopy(cast(nn.Module, model.visual.head))  # type: ignore[union-attr]
        del model.visual  # the rest is the text tower
        self.text = model
        with torch.no_grad():
            self.log_scale.fill_(math.log(FIRST_SCALE))

    @property
    def log_scale(self) -> nn.Parameter:
        """Logarithm of the learnt temperature."""
        scale: nn.Parameter = self.text.logit_scale  # type: ignore[assignment]
        return scale

    def images(self, pooled: torch.Tensor) -> torch.Tensor:
        """(n, C) pooled features of the trunk to (n, E) unit embeddings."""
        embedded: torch.Tensor = self.head(pooled)
        return normalize(embedded, dim=-1)

    def texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, context) tokens to (n, E) unit embeddings."""
        return normalize(self.text.encode_text(tokens), dim=-1)  # type: ignore[operator]


def contrastive_loss(logits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Softmax cross-entropy over rows and over columns, averaged; positives of a row share its target evenly.

    logits, positives: (n, n) float and bool, pictures by captions; every row and column has a positive.
    """
    return (_one_way(logits, positives) + _one_way(logits.T, positives.T)) / 2


def _one_way(logits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    targets = positives.float() / positives.sum(dim=1, keepdim=True)
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def scale_floor(step: int, steps: int) -> float:
    """Lower bound of the temperature at a step: from 1, geometrically, to scoring's."""
    return float(TEMPERATURE ** min(1.0, step / (FLOOR_REACHES_TOP * steps)))


def learning_rate(step: int, options: WordsOptions) -> float:
    """Linear warm-up, then half a cosine to 0."""
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    share = (step - options.warmup) / max(1, options.steps - options.warmup)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def pooled_features(encoder: Encoder, parts: Split, observe: Observer) -> torch.Tensor:
    """The trunk's pooled features of seen and held-out pictures, (n, C) float32 on the encoder's device."""
    paths = [example.item.image for example in (*parts.seen, *parts.held_out)]
    trunk: Callable[[torch.Tensor], torch.Tensor] = encoder.tower.trunk  # type: ignore[assignment]
    rows = []
    with torch.inference_mode():
        for image in in_order(read_image, paths, ahead=16):
            rows.append(trunk(encoder.preprocess([image]).contiguous(memory_format=torch.channels_last)))
            observe(Step(phase="pictures", done=len(rows), total=len(paths), loss=math.nan))
    return torch.cat(rows).clone()


class _Training:
    """The words, their optimizer and how far they came."""

    def __init__(
        self,
        words: Words,
        tokenize: Callable[[list[str]], torch.Tensor],
        captioner: Captioner,
        pooled: torch.Tensor,
        options: WordsOptions,
    ) -> None:
        self._words, self._tokenize, self._captioner = words, tokenize, captioner
        self._pooled, self._options = pooled, options
        matrices = [parameter for parameter in words.parameters() if parameter.ndim >= 2]
        vectors = [parameter for parameter in words.parameters() if parameter.ndim < 2]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=options.learning_rate,
        )
        self._done, self._sum, self._since = 0, 0.0, 0
        self.history: list[dict[str, float]] = []

    def run(self, checkpoint: CheckpointFile, observe: Observer, checkpoint_seconds: float) -> None:
        """Every step that is left."""
        position = checkpoint.load(self._words, self._optimizer)
        if position is not None:
            self._done, self._sum, self._since = position["done"], position["sum"], position["since"]
            self.history = position["history"]
        saved = time.monotonic()
        while self._done < self._options.steps:
            loss = self._step()
            observe(
                Step(phase=PHASE, done=self._done, total=self._options.steps, loss=loss, remark=self._report())
            )
            if time.monotonic() - saved >= checkpoint_seconds or self._done == self._options.steps:
                checkpoint.save(self._words, self._optimizer, self._position())
                saved = time.monotonic()

    def _step(self) -> float:
        options, words = self._options, self._words
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._done, options)
        pairs = self._captioner.draw(self._done, options.batch)
        place = self._pooled.device
        images = words.images(self._pooled[torch.from_numpy(pairs.pictures).to(place)])
        texts = words.texts(self._tokenize(pairs.captions).to(place))
        scale = words.log_scale.exp().clamp(scale_floor(self._done, options.steps), TEMPERATURE)
        loss = contrastive_loss(scale * images @ texts.T, torch.from_numpy(pairs.positives).to(place))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {self._done + 1} of the words' training")
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._done, self._sum, self._since = self._done + 1, self._sum + value, self._since + 1
        return value

    def _report(self) -> str:
        """Close an entry of the history where one is due."""
        if self._done * REPORTS // self._options.steps == (self._done - 1) * REPORTS // self._options.steps:
            return ""
        entry = {"step": self._done, "loss": self._sum / self._since}
        self.history.append(entry)
        self._sum, self._since = 0.0, 0
        return f"words, step {entry['step']}: loss {entry['loss']:.4f}"

    def _position(self) -> Mapping[str, Any]:
        return {"done": self._done, "sum": self._sum, "since": self._since, "history": self.history}


def _held_out(
    words: Words,
    tokenize: Callable[[list[str]], torch.Tensor],
    pooled: torch.Tensor,
    examples: Sequence[Example],
    names: Names,
) -> dict[str, float | None] | None:
    """Image AUROC of the text score on what was held out, called by its name and called "object"."""
    if not examples:
        return None
    embed = TextEncoder(words.text.cpu(), tokenize).embed
    labels = np.array([example.item.anomalous for example in examples])
    with torch.no_grad():
        images = words.images(pooled).cpu()
    kinds = sorted({example.object_name for example in examples})
    called = {kind: april_gan_text_features(embed, class_names(kind, names)[-1]) for kind in kinds}
    anything = april_gan_text_features(embed, "object")
    own = torch.cat(
        [
            text_score(image[None], called[example.object_name])
            for image, example in zip(images, examples, strict=True)
        ]
    )
    return {
        "image_auroc": image_figures(labels, own.numpy()).auroc,
        "image_auroc_as_object": image_figures(labels, text_score(images, anything).numpy()).auroc,
    }


def _to_bytes(words: Words, header: Mapping[str, Any]) -> bytes:
    with torch.no_grad():
        words.log_scale.fill_(math.log(TEMPERATURE))
    state = words.text.state_dict() | {
        f"visual.head.{name}": value for name, value in words.head.state_dict().items()
    }
    tensors = {name: value.half().cpu().contiguous() for name, value in state.items()}
    canonical = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return save_tensors(tensors, metadata={WORDS_METADATA: canonical})
