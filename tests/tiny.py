"""The fast test encoder: a tiny random CLIP saved as an open_clip config and a state dict.

It takes the real road into the product (`--model CONFIG.json --weights FILE`), so nothing in the product
knows that tests exist.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

TINY_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@dataclass(frozen=True, slots=True)
class TinyModel:
    """Where the files lie."""

    config: Path
    weights: Path


def write_tiny_clip(folder: Path, *, seed: int = 0) -> TinyModel:
    """Save a tiny random CLIP into `folder` (image 32 px, 4 blocks, patch 4: an 8x8 grid)."""
    import open_clip

    torch.manual_seed(seed)
    model = open_clip.CLIP(**json.loads(json.dumps(TINY_CONFIG)))
    folder.mkdir(parents=True, exist_ok=True)
    tiny = TinyModel(config=folder / "tiny-clip.json", weights=folder / "tiny-clip.safetensors")
    tiny.config.write_text(json.dumps(TINY_CONFIG), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tiny.weights)
    return tiny
