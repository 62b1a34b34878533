"""APRIL-GAN's linear layers: trained weights with the name of the tower they were trained on.

The project's form is one safetensors file with one metadata key of canonical JSON. The reference's `.pth`
(`trainable_linearlayer` holding `fc.{i}.weight` and `fc.{i}.bias`) is read with weights_only; it records no
activation, so whoever imports it must say which one it was trained on.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from core.encoder import Encoder
from core.errors import MismatchError, WeightsError
from core.presets import Activation
from core.tensor_file import reading

SCHEMA_VERSION = 1
METADATA_KEY = "aprilgan_adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterHeader:
    """What the layers belong to.

    tower_id: Encoder.tower_id they were trained on, None where the file does not say (the reference's form).
    activation, stages: of that tower. dataset: what they were trained on, in words. training: options and losses.
    centred: whether they take tokens relative to their picture's mean (see `centred`); the paper's do not.
    """

    tower_id: str | None
    activation: Activation
    stages: tuple[int, ...]
    dataset: str | None
    training: dict[str, Any]
    centred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """One linear layer a stage.

    weights: per stage (E, C_s) float32. biases: per stage (E,) float32. sha256: of the file, hex.
    """

    header: AdapterHeader
    weights: tuple[torch.Tensor, ...]
    biases: tuple[torch.Tensor, ...]
    sha256: str

    def to(self, device: torch.device) -> Adapter:
        """The same layers on a device."""
        return Adapter(
            header=self.header,
            weights=tuple(weight.to(device) for weight in self.weights),
            biases=tuple(bias.to(device) for bias in self.biases),
            sha256=self.sha256,
        )


def centred(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens (N, L, C) relative to the mean of their own picture, the same shape.

    A linear layer sees one token at a time and cannot tell an odd place from an odd surface; the difference
    from the picture's mean can (docs/notes/0011-lite-words.md).
    """
    return tokens - tokens.mean(dim=1, keepdim=True)


def adapter_to_bytes(header: AdapterHeader, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> bytes:
    """The file content of trained layers, (weight (E, C_s), bias (E,)) a stage."""
    tensors = {}
    for index, (weight, bias) in enumerate(layers):
        tensors[f"{index}.weight"] = weight.detach().float().cpu().contiguous()
        tensors[f"{index}.bias"] = bias.detach().float().cpu().contiguous()
    canonical = json.dumps({"schema": SCHEMA_VERSION, **asdict(header)}, sort_keys=True, separators=(",", ":"))
    return save_tensors(tensors, metadata={METADATA_KEY: canonical})


def load_adapter(
    path: Path, *, activation: Activation | None = None, stages: tuple[int, ...] | None = None
) -> Adapter:
    """Read linear layers, the project's safetensors or the reference's `.pth`.

    activation: must be given for a `.pth`; for safetensors it must agree with the header if given.
    stages: of the encoder in use; a `.pth` does not record its own and takes these.

    Raises WeightsError for a file that is missing, damaged or of another kind, MismatchError where the
    activations disagree.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the adapter {path}: {error.strerror}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if path.suffix == ".safetensors":
        header, tensors = _project_form(path, data)
        if activation is not None and activation != header.activation:
            raise MismatchError(
                f"the adapter {path.name} was trained on {header.activation} features, {activation} was asked for"
            )
        layers = _layers(path, tensors, "{}.weight", "{}.bias")
    else:
        if activation is None:
            raise WeightsError(
                f"{path.name} is the reference's form, which records no activation: say which one it was "
                f"trained on (gelu for the published ones)"
            )
        layers = _layers(path, _reference_form(path, data), "fc.{}.weight", "fc.{}.bias")
        header = AdapterHeader(
            tower_id=None,
            activation=activation,
            stages=stages or tuple(range(1, len(layers) + 1)),
            dataset=None,
            training={},
        )
    return Adapter(
        header=header,
        weights=tuple(weight for weight, _ in layers),
        biases=tuple(bias for _, bias in layers),
        sha256=sha256,
    )


def check_adapter(adapter: Adapter, encoder: Encoder) -> None:
    """Raise MismatchError, naming both sides, unless the layers fit this encoder."""
    header = adapter.header
    pairs: dict[str, tuple[Any, Any]] = {
        "activation": (header.activation, encoder.spec.activation),
        "stages": (list(header.stages), list(encoder.stages)),
        "layers for": (f"{len(adapter.weights)} stages", f"{len(encoder.stages)} stages"),
    }
    if header.tower_id is not None:
        pairs["tower"] = (header.tower_id, encoder.tower_id)
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise MismatchError(f"the adapter was trained for {what} {theirs}, this encoder has {ours}")
    for stage, weight, (_, _, width) in zip(encoder.stages, adapter.weights, encoder.stage_shapes, strict=True):
        if weight.shape[1] != width:
            raise MismatchError(
                f"the adapter takes tokens of width {weight.shape[1]} at stage {stage}, this encoder gives {width}"
            )
        if weight.shape[0] != encoder.embedding_width:
            raise MismatchError(
                f"the adapter gives vectors of width {weight.shape[0]} at stage {stage}, "
                f"this encoder's image and text features have {encoder.embedding_width}"
            )


def _project_form(path: Path, data: bytes) -> tuple[AdapterHeader, dict[str, torch.Tensor]]:
    try:
        tensors = load_tensors(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        fields = json.loads(metadata[METADATA_KEY])
        schema = fields.pop("schema")
        header = AdapterHeader(**{**fields, "stages": tuple(fields["stages"])})
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path.name} is not an adapter of this product: {error!r}") from error
    if schema != SCHEMA_VERSION:
        raise WeightsError(f"{path.name}: expected adapter schema {SCHEMA_VERSION}, got {schema}")
    return header, tensors


def _reference_form(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    with reading(path.name):
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    layers = state.get("trainable_linearlayer") if isinstance(state, Mapping) else None
    if not isinstance(layers, Mapping) or not all(isinstance(value, torch.Tensor) for value in layers.values()):
        raise WeightsError(f"{path.name} is not the reference's adapter: no tensors in trainable_linearlayer")
    return dict(layers)


def _layers(
    path: Path, tensors: dict[str, torch.Tensor], weight_name: str, bias_name: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    layers: list[tuple[torch.Tensor, torch.Tensor]] = []
    while weight_name.format(len(layers)) in tensors:
        index = len(layers)
        weight, bias = tensors[weight_name.format(index)].float(), tensors.get(bias_name.format(index))
        if bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise WeightsError(f"{path.name}: layer {index} is not a weight (E, C) with a bias (E,)")
        if not bool(weight.isfinite().all() and bias.isfinite().all()):
            raise WeightsError(f"{path.name}: layer {index} holds NaN or infinity")
        layers.append((weight, bias.float()))
    if not layers or 2 * len(layers) != len(tensors):
        raise WeightsError(f"{path.name}: expected one weight and bias a stage, got {sorted(tensors)[:8]}")
    return layers
