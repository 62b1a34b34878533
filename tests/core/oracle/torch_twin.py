"""open_clip's own model in float64: what the oracle's towers are held against. The oracle itself never uses it."""

from __future__ import annotations

import json

import open_clip
from open_clip.model import resize_pos_embed
from safetensors.torch import load_file

from tests.core.oracle.clip_numpy import Activation
from tests.core.oracle.tiny import LivelyClip


def open_clip_twin(files: LivelyClip, activation: Activation, size: int) -> open_clip.CLIP:
    """The model of the same files for images of `size` pixels, its position embedding resized by open_clip."""
    config = json.loads(files.config.read_text(encoding="utf-8"))
    config["quick_gelu"] = activation == "quickgelu"
    config["vision_cfg"]["image_size"] = size
    model = open_clip.CLIP(**config).double().eval()
    state = {name: tensor.double() for name, tensor in load_file(files.weights).items()}
    resize_pos_embed(state, model)
    model.load_state_dict(state, strict=True)
    return model
