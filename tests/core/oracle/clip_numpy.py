"""CLIP's two towers in float64 NumPy, reading open_clip's weight names.

It states the plain ViT CLIP: class token, learnt positions, pre-norm blocks, `ln_post` then `proj` on the class
token; and the plain text tower: causal mask, feature at the end-of-text token. Any other option in a
configuration is refused, so that the oracle never answers for a model which it does not state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import erf, expit

from tests.core.oracle.arrays import Floats, Ints, bicubic_antialiased, softmax, unit

Activation = Literal["gelu", "quickgelu"]

LAYER_NORM_EPS = 1e-5
KNOWN = {
    "model": {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"},
    "vision_cfg": {"image_size", "layers", "width", "head_width", "patch_size"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers"},
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A CLIP: open_clip's state dict in float64 and the few numbers that its shapes do not tell."""

    weights: Mapping[str, Floats]
    patch: int
    image_heads: int
    text_heads: int
    activation: Activation

    @property
    def image_layers(self) -> int:
        """Number of blocks in the image tower."""
        return sum(1 for _ in _blocks(self.weights, "visual.transformer"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFeatures:
    """What the image tower makes of N images with P = grid x grid patches."""

    stream: tuple[Floats, ...]
    """Residual stream after each block, (N, 1 + P, width), class token first; block 1 is `stream[0]`."""
    embedding: Floats
    """Class token of the last block -> ln_post -> proj -> unit length, (N, C)."""

    def after_block(self, block: int) -> Floats:
        """The residual stream after a block counted from 1, (N, 1 + P, width)."""
        if not 1 <= block <= len(self.stream):
            raise ValueError(f"expected a block from 1 to {len(self.stream)}, got {block}")
        return self.stream[block - 1]


def load_clip(config: Path, weights: Path, *, activation: Activation | None = None) -> Clip:
    """Read an open_clip model config and a safetensors state dict; `activation` overrides the config's."""
    model = json.loads(config.read_text(encoding="utf-8"))
    for section, known in KNOWN.items():
        if strange := set(model if section == "model" else model[section]) - known:
            raise ValueError(f"the oracle does not state {sorted(strange)} of {section} in {config.name}")
    vision, text = model["vision_cfg"], model["text_cfg"]
    return Clip(
        weights={name: array.astype(np.float64) for name, array in load_file(weights).items()},
        patch=vision["patch_size"],
        image_heads=vision["width"] // vision.get("head_width", 64),
        text_heads=text["heads"],
        activation=activation or ("quickgelu" if model.get("quick_gelu", False) else "gelu"),
    )


def with_activation(clip: Clip, activation: Activation) -> Clip:
    """The same weights under another activation."""
    return replace(clip, activation=activation)


def encode_image(clip: Clip, pixels: npt.ArrayLike) -> ImageFeatures:
    """Run the image tower on normalised pixels (N, 3, S, S), S a multiple of the patch."""
    x = embed_patches(clip, pixels)
    stream = []
    for block in image_blocks(clip):
        x = run_block(clip.activation, clip.image_heads, block, x)
        stream.append(x)
    return ImageFeatures(stream=tuple(stream), embedding=unit(project(clip, x[:, 0])))


def encode_text(clip: Clip, tokens: Ints) -> Floats:
    """Unit text embeddings (N, C) of token ids (N, 77); end-of-text is the largest id of each row."""
    x = clip.weights["token_embedding.weight"][tokens] + clip.weights["positional_embedding"]
    ahead = np.triu(np.ones((x.shape[1], x.shape[1]), dtype=bool), k=1)
    mask = np.where(ahead, -np.inf, 0.0)
    for block in _blocks(clip.weights, "transformer"):
        x = run_block(clip.activation, clip.text_heads, block, x, mask)
    end = x[np.arange(len(tokens)), tokens.argmax(axis=1)]
    return unit(layer_norm(clip.weights, "ln_final", end) @ clip.weights["text_projection"])


def embed_patches(clip: Clip, pixels: npt.ArrayLike) -> Floats:
    """Pixels (N, 3, S, S) -> what the first block reads, (N, 1 + P, width)."""
    images = np.asarray(pixels, dtype=np.float64)
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % clip.patch or images.shape[3] % clip.patch:
        raise ValueError(f"expected (N, 3, S, S) with S a multiple of {clip.patch}, got {images.shape}")
    count, colours, height, width = images.shape
    grid = (height // clip.patch, width // clip.patch)
    cut = images.reshape(count, colours, grid[0], clip.patch, grid[1], clip.patch)
    patches = cut.transpose(0, 2, 4, 1, 3, 5).reshape(count, grid[0] * grid[1], -1)
    kernels = clip.weights["visual.conv1.weight"]
    tokens = patches @ kernels.reshape(len(kernels), -1).T
    first = np.broadcast_to(clip.weights["visual.class_embedding"], (count, 1, tokens.shape[-1]))
    x = np.concatenate([first, tokens], axis=1) + positions(clip, grid)
    return layer_norm(clip.weights, "visual.ln_pre", x)


def positions(clip: Clip, grid: tuple[int, int]) -> Floats:
    """Position embedding (1 + P, width) for a grid: the class token's as it is, the others' resized."""
    table = clip.weights["visual.positional_embedding"]
    side = isqrt(len(table) - 1)
    if grid == (side, side):
        return table
    maps = table[1:].reshape(side, side, -1).transpose(2, 0, 1)
    resized = bicubic_antialiased(maps, grid).transpose(1, 2, 0)
    return np.concatenate([table[:1], resized.reshape(grid[0] * grid[1], -1)])


def project(clip: Clip, tokens: Floats) -> Floats:
    """ln_post then proj: tokens (..., width) into the space shared with the text, (..., C), length kept."""
    return layer_norm(clip.weights, "visual.ln_post", tokens) @ clip.weights["visual.proj"]


def image_blocks(clip: Clip) -> Iterator[Mapping[str, Floats]]:
    """The image tower's blocks in order: weights named as within one block (`ln_1.weight`, ...)."""
    return _blocks(clip.weights, "visual.transformer")


def _blocks(weights: Mapping[str, Floats], tower: str) -> Iterator[Mapping[str, Floats]]:
    number = 0
    while f"{tower}.resblocks.{number}.ln_1.weight" in weights:
        prefix = f"{tower}.resblocks.{number}."
        yield {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        number += 1


def run_block(
    activation: Activation, heads: int, block: Mapping[str, Floats], x: Floats, mask: Floats | None = None
) -> Floats:
    """One pre-norm residual block on (N, T, width); `mask` (T, T) is added to the attention's logits."""
    query, key, value = split_qkv(heads, block, layer_norm(block, "ln_1", x))
    x = x + attend(block, query, key, value, mask)
    hidden = linear(block, "mlp.c_fc", layer_norm(block, "ln_2", x))
    return x + linear(block, "mlp.c_proj", _activate(activation, hidden))


def split_qkv(heads: int, block: Mapping[str, Floats], x: Floats) -> tuple[Floats, Floats, Floats]:
    """Queries, keys and values, each (N, heads, T, width / heads), of normed tokens (N, T, width)."""
    count, length, width = x.shape
    joint = x @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
    parts = joint.reshape(count, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def attend(
    block: Mapping[str, Floats], query: Floats, key: Floats, value: Floats, mask: Floats | None = None
) -> Floats:
    """`W_o softmax(q k^T / sqrt d + mask) v`, heads joined again: (N, T, width)."""
    logits = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    mixed = softmax(logits if mask is None else logits + mask) @ value
    count, heads, length, depth = mixed.shape
    return linear(block, "attn.out_proj", mixed.transpose(0, 2, 1, 3).reshape(count, length, heads * depth))


def layer_norm(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    """Zero mean, unit (biased) variance over the last axis, then the learnt scale and shift."""
    centred: Floats = x - x.mean(axis=-1, keepdims=True)
    variance: Floats = (centred**2).mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(variance + LAYER_NORM_EPS)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    """`x W^T + b`."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _activate(activation: Activation, x: Floats) -> Floats:
    if activation == "quickgelu":
        return np.asarray(x * expit(1.702 * x))
    return np.asarray(x * 0.5 * (1.0 + erf(x / np.sqrt(2.0))))
