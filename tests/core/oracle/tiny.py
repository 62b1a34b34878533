"""Tiny random models with life: an open_clip config, a state dict, linear layers and pixels, all from seeds.

A model freshly initialised is too calm for parity tests: its sentences all look alike and a softmax in the
wrong place moves a map by 1e-5. Here LayerNorm weights lie about 1, biases about 0, everything with a spread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.core.oracle.april_gan_numpy import Linear
from tests.core.oracle.arrays import Floats, Ints
from tests.core.oracle.clip_numpy import Activation

SPREAD = 0.3
IMAGE_SIZE, RESIZED = 32, 40
"""The size of the saved position embedding (8 x 8 patches) and another (10 x 10) that makes it resize."""
STAGES = (2, 4, 6, 8)
SEED = 7
"""Of seeds 0 to 20 the one whose scores keep furthest from 0 and 1 and whose text holds DBSCAN noise: a softmax
that saturates would hide errors in float32 and blow up those of bfloat16."""
LIVELY_CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": IMAGE_SIZE, "layers": 8, "width": 32, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


@dataclass(frozen=True, slots=True)
class LivelyClip:
    """Where the two files lie."""

    config: Path
    weights: Path


def lively_tiny_clip(folder: Path, *, seed: int = SEED, activation: Activation = "gelu") -> LivelyClip:
    """Save a tiny lively CLIP as float32 open_clip files: 8 blocks, width 32, 8 x 8 patches of 4 pixels."""
    config = {**LIVELY_CONFIG, "quick_gelu": activation == "quickgelu"}
    clip = LivelyClip(config=folder / "lively-clip.json", weights=folder / "lively-clip.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    clip.config.write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(seed)
    save_file({name: _lively(random, name, shape) for name, shape in _shapes(LIVELY_CONFIG)}, clip.weights)
    return clip


def lively_linears(count: int = len(STAGES), *, seed: int = 1) -> list[Linear]:
    """The stages' linear layers with random weights, exactly representable in float32."""
    random = np.random.default_rng(seed)
    width, embed = LIVELY_CONFIG["vision_cfg"]["width"], LIVELY_CONFIG["embed_dim"]
    return [Linear(weight=_normal(random, (embed, width)), bias=_normal(random, (embed,))) for _ in range(count)]


def random_pixels(count: int, size: int = IMAGE_SIZE, *, seed: int = 2) -> Floats:
    """Normalised pixels (count, 3, size, size), exactly representable in float32."""
    return (
        np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype(np.float32).astype(np.float64)
    )


def tokenize(sentences: Sequence[str]) -> Ints:
    """open_clip's own tokenizer: ids (N, 77)."""
    import open_clip

    ids: Ints = open_clip.tokenize(list(sentences)).numpy()
    return ids


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return (SPREAD * random.standard_normal(shape)).astype(np.float32).astype(np.float64)


def _lively(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    norm_scale = ".ln_" in f".{name}" and name.endswith(".weight")
    return np.asarray(SPREAD * random.standard_normal(shape) + norm_scale, dtype=np.float32)


def _shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every entry in open_clip's state dict for a plain ViT CLIP."""
    embed, vision, text = config["embed_dim"], config["vision_cfg"], config["text_cfg"]
    wide, patch = vision["width"], vision["patch_size"]
    yield "visual.class_embedding", (wide,)
    yield "visual.positional_embedding", (1 + (vision["image_size"] // patch) ** 2, wide)
    yield "visual.conv1.weight", (wide, 3, patch, patch)
    yield from _affine("visual.ln_pre", (wide,))
    yield from _block_shapes("visual.transformer", vision["layers"], wide)
    yield from _affine("visual.ln_post", (wide,))
    yield "visual.proj", (wide, embed)
    yield "token_embedding.weight", (text["vocab_size"], text["width"])
    yield "positional_embedding", (text["context_length"], text["width"])
    yield from _block_shapes("transformer", text["layers"], text["width"])
    yield from _affine("ln_final", (text["width"],))
    yield "text_projection", (text["width"], embed)
    yield "logit_scale", ()


def _block_shapes(tower: str, layers: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for number in range(layers):
        block = f"{tower}.resblocks.{number}"
        yield from _affine(f"{block}.ln_1", (width,))
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        yield from _affine(f"{block}.attn.out_proj", (width, width))
        yield from _affine(f"{block}.ln_2", (width,))
        yield from _affine(f"{block}.mlp.c_fc", (4 * width, width))
        yield from _affine(f"{block}.mlp.c_proj", (width, 4 * width))


def _affine(name: str, weight: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]
