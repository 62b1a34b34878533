"""Training of APRIL-GAN's linear layers, and SDP+'s: one a stage, on a frozen tower (method.md section 1).

The two methods differ in text features and options only: SDP+ trains on the original path's tokens, which are
those of the ordinary pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from core.adapter import AdapterHeader, adapter_to_bytes
from core.datasets import Dataset
from core.device import choose_device
from core.digests import joint_digest, tensor_digests
from core.encoder import Encoder, Precision
from core.errors import EncoderError
from core.text import Embed, april_gan_text_features
from core.training.checkpoint import CHECKPOINT_SECONDS, CheckpointFile
from core.training.examples import Split, split
from core.training.feed import row_bytes
from core.training.linear_run import PHASE, LinearRun
from core.training.options import Method, TrainingOptions
from core.training.progress import Observer, unobserved
from core.training.record import data_record, versions
from core.training.token_cache import TokenCache, open_token_cache
from core.training.work_folder import LINEAR_CHECKPOINT


def train_linear_layers(
    encoder: Encoder,
    text_features_of: Callable[[str], torch.Tensor],
    dataset: Dataset,
    options: TrainingOptions,
    *,
    work: Path,
    observe: Observer = unobserved,
    use_cache: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> bytes:
    """The adapter file of layers trained on a data set's test pictures and their masks.

    text_features_of: a class's name to F_t (2, E) unit rows, normal first. work: an existing folder for this
    training alone; it keeps the checkpoint, from which a killed training goes on to the same bytes, and the token
    cache. checkpoint_seconds: between checkpoints within an epoch; there is one after each epoch.

    On a CPU the same arguments give the same bytes, with or without cache, while torch has as many threads.

    Raises TrainingError (nothing to learn, a loss that is not finite), EncoderError for a tower without words,
    MismatchError for a checkpoint of another training, DatasetError for a file that cannot be read.
    """
    if encoder.embedding_width is None:
        raise EncoderError(f"{encoder.spec.name} has no text tower, so linear layers have nothing to reach for")
    parts, digest = split(dataset, options.hold_out), dataset.digest()
    text = {kind.name: text_features_of(kind.name).float().cpu() for kind in dataset.classes}
    of = {
        "encoder": encoder.id,
        "stages": list(encoder.stages),
        "precision": encoder.precision,
        "device": encoder.torch_device.type,
        "data": digest,
    }
    identity = {"training": PHASE, **of, "text": joint_digest(tensor_digests(text)), **asdict(options)}
    with ExitStack() as stack:
        cache = _open_cache(work, encoder, of, parts) if use_cache else None
        if cache is not None:
            stack.enter_context(cache)
        checkpoint = CheckpointFile(path=work / LINEAR_CHECKPOINT, identity=identity)
        run = LinearRun(encoder, text, parts, options, cache, checkpoint)
        while run.epoch <= options.epochs:
            run.run_epoch(observe, checkpoint_seconds)
    header = AdapterHeader(
        tower_id=encoder.tower_id,
        activation=encoder.spec.activation,
        stages=encoder.stages,
        centred=options.centred,
        dataset=f"{dataset.layout}: {', '.join(kind.name for kind in dataset.classes)}",
        training={
            **data_record(dataset, digest, parts),
            "encoder": encoder.id,
            "image_size": encoder.image_size,
            "precision": encoder.precision,
            "device": encoder.torch_device.type,
            "options": asdict(options),
            "history": run.history,
            "versions": versions(),
        },
    )
    return adapter_to_bytes(header, [(layer.weight, layer.bias) for layer in run.layers.stages])  # type: ignore[misc]


def _open_cache(work: Path, encoder: Encoder, of: dict[str, Any], parts: Split) -> TokenCache | None:
    rows = len(parts.seen) + len(parts.held_out)
    return open_token_cache(work, {**of, **versions()}, rows=rows, row_bytes=row_bytes(encoder))


def steady_precision(precision: Precision, device: str) -> Precision:
    """What "auto" means while training: bfloat16 on a GPU, float32 on a CPU.

    Scoring's "auto" lets a CPU's speed of the moment decide; a training must go on in what it began in.
    """
    if precision != "auto":
        return precision
    return "bfloat16" if choose_device(device).type == "cuda" else "float32"


def class_text(method: Method, embed: Embed) -> Callable[[str], torch.Tensor]:
    """A method's text features of a class's name, for `train_linear_layers`."""
    if method == "sdp+":
        from core.clip_ad_text import clip_ad_text_features  # its clustering is no business of april-gan

        return partial(clip_ad_text_features, embed)
    return partial(april_gan_text_features, embed)
