"""Image and text towers with their weights. The only file that imports open_clip, and only where it builds a CLIP.

Weights are loaded strictly or not at all: open_clip's own factory may hand back random ones with only a
warning, so towers are built and loaded here in two steps that cannot be confused.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from core.digests import joint_digest, tensor_digests
from core.errors import EncoderError, WeightsError
from core.lite_tower import LiteTower, load_by_position, packaged_trunk_weights
from core.packaged import packaged_words
from core.presets import EncoderSpec, has_text_tower
from core.tensor_file import first_line, reading
from core.undrawn import Undrawn

TRUNK = "visual.trunk."
WORDS_METADATA = "aprilgan_words"
NUMPY_SUFFIXES = frozenset({".npy", ".npz"})
"""open_clip reads big_vision's arrays from these, and takes what it finds."""


def import_clip() -> None:
    """Import what building a whole CLIP takes besides: seconds that a process may spend before it is needed."""
    import open_clip

    _ = open_clip  # and with it timm


def build_tower(spec: EncoderSpec, weights: Path | None) -> nn.Module:
    """The image tower of a spec with its weights, on the CPU in float32.

    weights: a local state dict; None takes the packaged files for "lite", open_clip's download otherwise.

    Raises EncoderError or WeightsError.
    """
    if not has_text_tower(spec):
        return _build_lite(spec, weights)
    tower: nn.Module = build_clip(spec, weights).visual  # type: ignore[assignment]
    return tower


def is_timm(spec: EncoderSpec) -> bool:
    """Whether the image tower is one of timm's (CNNs run faster with channels last)."""
    return "timm_model_name" in _vision_config(spec)


def is_resnet(spec: EncoderSpec) -> bool:
    """Whether the image tower is open_clip's own ResNet: the stem and four groups of blocks."""
    return isinstance(_vision_config(spec).get("layers"), list)


def _vision_config(spec: EncoderSpec) -> dict[str, Any]:
    config = open_clip_config(spec) if isinstance(spec.model, str) else spec.model
    vision: dict[str, Any] = config.get("vision_cfg", config)
    return vision


def clip_tokenizer(spec: EncoderSpec) -> Callable[[list[str]], torch.Tensor]:
    """open_clip's tokenizer for the spec's text tower: n sentences to (n, context) int64."""
    import open_clip

    length = (
        open_clip_config(spec)
        .get("text_cfg", {})
        .get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    )
    tokenizer = open_clip.SimpleTokenizer(context_length=length)
    return lambda sentences: torch.as_tensor(tokenizer(sentences))


def build_clip(spec: EncoderSpec, weights: Path | None) -> nn.Module:
    """The whole CLIP of a spec, both towers, weights loaded strictly, on the CPU in float32.

    Raises EncoderError for a config that cannot be built, WeightsError for weights that do not fit it.
    """
    import open_clip

    with Undrawn():
        model = _unloaded_clip(spec)
    if spec.packaged is not None:
        path = weights if weights is not None else packaged_words(spec.packaged)
        _load_weights(lambda: _load_words(model, path), path, spec)
    else:
        path = weights if weights is not None else _download(spec)
        load = partial(open_clip.load_checkpoint, model, str(path), strict=True, weights_only=True)
        _load_weights(load, path, spec)
    _check_finite(model, spec.name)
    return model


def build_words(spec: EncoderSpec) -> nn.Module:
    """The CLIP of a packaged spec before its words are trained: the pretrained trunk, all else random.

    Raises EncoderError where the spec's words are not packaged apart from its image tower.
    """
    if spec.packaged is None:
        raise EncoderError(f"{spec.name} comes with its words; only lite's are trained apart from the image tower")
    model, path = _unloaded_clip(spec), packaged_trunk_weights()
    _load_weights(lambda: load_by_position(_trunk(model), path), path, spec)
    return model


def vocabulary() -> tuple[str, ...]:
    """The tokenizer's whole words of three letters and more, sorted."""
    import open_clip

    words = (re.fullmatch(r"([a-z]{3,})</w>", entry) for entry in open_clip.SimpleTokenizer().encoder)
    return tuple(sorted(word[1] for word in words if word))


def _unloaded_clip(spec: EncoderSpec) -> nn.Module:
    import open_clip

    config = _clip_config(spec)
    custom_text = config.pop("custom_text", False) or "hf_model_name" in config.get("text_cfg", {})
    architecture = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    try:
        model: nn.Module = architecture(**config)
    except (TypeError, KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise EncoderError(f"{spec.name}: open_clip cannot build this config: {error}") from error
    return model


def open_clip_config(spec: EncoderSpec) -> dict[str, Any]:
    """A copy of open_clip's config of the spec. Raises EncoderError for an unknown name."""
    import open_clip

    if not isinstance(spec.model, str):
        return copy.deepcopy(spec.model)
    config: dict[str, Any] | None = open_clip.get_model_config(spec.model)
    if config is None:
        raise EncoderError(f"open_clip knows no model {spec.model!r}")
    return config


def _clip_config(spec: EncoderSpec) -> dict[str, Any]:
    config = open_clip_config(spec)
    vision = config["vision_cfg"]
    _check_patches(vision, spec)
    vision["image_size"] = spec.image_size
    config["quick_gelu"] = spec.activation == "quickgelu"
    vision.pop("timm_model_pretrained", None)
    return config


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


def _load_words(model: nn.Module, path: Path) -> None:
    """A state dict that may leave the trunk out; then the package's must be the one it was trained on."""
    from open_clip.factory import load_state_dict

    loaded = load_state_dict(str(path), weights_only=True)
    state = {name: tensor.float() for name, tensor in loaded.items()}
    if not any(name.startswith(TRUNK) for name in state):
        load_by_position(_trunk(model), packaged_trunk_weights())
        trained_on, ours = words_header(path).get("trunk"), trunk_sha256(model)
        if trained_on != ours:
            raise RuntimeError(f"these words were trained on the trunk {trained_on}, the package's is {ours}")
        state |= {name: tensor for name, tensor in model.state_dict().items() if name.startswith(TRUNK)}
    model.load_state_dict(state, strict=True)


def words_header(path: Path) -> dict[str, Any]:
    """What a words file says of itself: config, trunk, training; nothing where it says nothing."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads((file.metadata() or {}).get(WORDS_METADATA, "{}")))


def trunk_sha256(model: nn.Module) -> str:
    """Names the image trunk of a CLIP: what its words were trained on."""
    return joint_digest(tensor_digests(_trunk(model).state_dict()))


def _trunk(model: nn.Module) -> nn.Module:
    trunk: nn.Module = model.visual.trunk  # type: ignore[union-attr, assignment]
    return trunk


def _build_lite(spec: EncoderSpec, weights: Path | None) -> nn.Module:
    path = weights if weights is not None else packaged_trunk_weights()
    with Undrawn():
        tower = LiteTower()
    _load_weights(lambda: load_by_position(tower.trunk, path), path, spec)
    _check_finite(tower, spec.name)
    return tower


def _load_weights(load: Callable[[], object], path: Path, spec: EncoderSpec) -> None:
    if not path.is_file():
        raise WeightsError(
            f"{spec.name}: no weights file {path}; fetch it on a machine with internet access and place it there"
        )
    if path.suffix in NUMPY_SUFFIXES:
        raise WeightsError(
            f"{spec.name}: expected a state dict as .safetensors or .pt, got {path.name}: an array file may lack "
            "weights without anybody saying so; convert it with open_clip on another machine"
        )
    with reading(f"{spec.name}: {path.name}"):
        load()


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
            f"downloaded ({first_line(error)}). Fetch {where} on a machine with internet access, copy the file "
            f"here and name it in [model] weights"
        ) from error


def _check_finite(tower: nn.Module, name: str) -> None:
    for key, tensor in tower.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{name}: weight {key} holds NaN or infinity")
