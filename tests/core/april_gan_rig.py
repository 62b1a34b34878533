"""What APRIL-GAN's tests share: pictures, linear layers as files, and the lively tiny CLIP as a scorer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import core
from core.adapter import AdapterHeader, adapter_to_bytes
from core.encoder import Precision
from core.image import Image
from core.presets import Activation
from core.text import Embed
from tests.core.oracle import tiny
from tests.core.oracle.april_gan_numpy import Linear
from tests.core.oracle.arrays import Floats

PARITY = 1e-4
"""What float32 may differ from the oracle."""
OBJECT = "metal_nut"

Layers = list[tuple[torch.Tensor, torch.Tensor]]


def pictures(count: int, size: int = tiny.IMAGE_SIZE, *, seed: int = 0) -> list[Image]:
    """Noise, (size, size, 3) uint8 RGB: every patch unlike every other."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def pixels_of(encoder: core.Encoder, images: Sequence[Image]) -> Floats:
    """The normalised pixels that the encoder sees, for the oracle."""
    return encoder.preprocess(images).double().numpy()


def as_layers(linears: Sequence[Linear]) -> Layers:
    """The oracle's linear layers as torch's."""
    return [(torch.from_numpy(linear.weight).float(), torch.from_numpy(linear.bias).float()) for linear in linears]


def project_file(folder: Path, layers: Layers, header: AdapterHeader) -> Path:
    """The project's form of linear layers."""
    path = folder / "layers.safetensors"
    path.write_bytes(adapter_to_bytes(header, layers))
    return path


def reference_file(folder: Path, layers: Layers) -> Path:
    """The form that the reference code saves."""
    state = {}
    for index, (weight, bias) in enumerate(layers):
        state |= {f"fc.{index}.weight": weight, f"fc.{index}.bias": bias}
    path = folder / "layers.pth"
    torch.save({"trainable_linearlayer": state}, path)
    return path


def header_for(encoder: core.Encoder, **changes: object) -> AdapterHeader:
    """What layers trained on this encoder would say of themselves."""
    fields = {
        "tower_id": encoder.tower_id,
        "activation": encoder.spec.activation,
        "stages": encoder.stages,
        "dataset": "random",
        "training": {"epochs": 3},
    }
    return AdapterHeader(**{**fields, **changes})  # type: ignore[arg-type]


def load_encoder(
    files: tiny.LivelyClip,
    *,
    activation: Activation = "gelu",
    size: int = tiny.IMAGE_SIZE,
    precision: Precision = "float32",
) -> core.Encoder:
    """The lively tiny CLIP's image tower by the product's own road."""
    return core.load_encoder(
        str(files.config),
        weights=files.weights,
        activation=activation,
        stages=tiny.STAGES,
        image_size=size,
        device="cpu",
        precision=precision,
    )


def lively_scorer(encoder: core.Encoder, folder: Path, *, form: str = "safetensors") -> core.Scorer:
    """APRIL-GAN with the oracle's linear layers, read from a file of either form."""
    layers = as_layers(tiny.lively_linears())
    if form == "pth":
        adapter = core.load_adapter(
            reference_file(folder, layers), activation=encoder.spec.activation, stages=encoder.stages
        )
    else:
        adapter = core.load_adapter(project_file(folder, layers, header_for(encoder)))
    return core.Scorer(encoder, method="april-gan", adapter=adapter)


def enrolled(
    scorer: core.Scorer, embed: Embed, references: Sequence[Image], *, product: str, object_name: str = OBJECT
) -> core.ReferenceBank:
    """A product's bank of a few references."""
    samples = [core.Sample.from_array(f"{product}-{n}", image) for n, image in enumerate(references)]
    return core.enrol(scorer, samples, product=product, object_name=object_name, embed=embed).bank
