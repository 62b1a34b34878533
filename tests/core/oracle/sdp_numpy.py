"""CLIP-AD in float64 NumPy: representative vectors, the dual path, feature surgery; SDP and SDP+.

Stated from the specification's description of the paper. The stages are the four quarters of the tower. As in
`april_gan_numpy`, the defaults of `Variant` are the method and `MUTANTS` are wrong forms of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.cluster import DBSCAN

from tests.core.oracle.april_gan_numpy import Linear, Tokenize, zero_shot_map
from tests.core.oracle.arrays import Floats, bilinear, softmax, unit
from tests.core.oracle.clip_numpy import (
    Clip,
    attend,
    embed_patches,
    encode_text,
    image_blocks,
    layer_norm,
    project,
    run_block,
    split_qkv,
)

FLAWS = ("flaw", "defect", "damage", "scratch", "crack", "contamination")
NORMAL_STATES = ("flawless {}", "perfect {}", "unblemished {}", *(f"{{}} without {flaw}" for flaw in FLAWS))
ABNORMAL_STATES = (
    "damaged {}",
    "imperfect {}",
    "blemished {}",
    "broken {}",
    *(f"{{}} with {flaw}" for flaw in FLAWS),
)
PATTERNS = (
    "a cropped photo of A {}.",
    "a close-up photo of A {}.",
    "a bright photo of A {}.",
    "a dark photo of A {}.",
    "a jpeg corrupted photo of A {}.",
    "a blurry photo of A {}.",
    "a photo of A {}.",
    "a photo of A large {}.",
    "a photo of A small {}.",
    "a photo of A {} for visual inspection.",
    "a photo of A {} for anomaly detection.",
)
TEMPLATES = tuple(pattern.replace("A", article) for pattern in PATTERNS for article in ("the", "a"))

EPS, MIN_SAMPLES = 0.5, 15
STAGES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The choices that make CLIP-AD's maps; any value but the default is a mutant."""

    reset: bool = True
    ordinary_cls: bool = True
    values_only: bool = True
    """Whether values serve as queries and keys too; False leaves the ordinary attention."""
    temperature: float = 1.0
    align_corners: bool = False
    blur: bool = True
    linears_on_surgery: bool = False


PAPER = Variant()
MUTANTS = {
    "no reset at L/4": Variant(reset=False),
    "CLS from the surgery path": Variant(ordinary_cls=False),
    "QK attention for VV": Variant(values_only=False),
    "temperature 100": Variant(temperature=100.0),
    "align_corners True": Variant(align_corners=True),
    "blur missing": Variant(blur=False),
}
PLUS_MUTANTS = {"linears on the surgery path": Variant(linears_on_surgery=True)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DualPath:
    """Both paths through the image tower; stages are the blocks L/4, 2L/4, 3L/4 and L."""

    original: tuple[Floats, ...]
    """The ordinary residual stream at each stage, (N, 1 + P, width)."""
    surgery: tuple[Floats, ...]
    """Each stage's own sum of V-V outputs with the ordinary class token, (N, 1 + P, width)."""
    features: tuple[Floats, ...]
    """`surgery` -> ln_post -> proj -> unit length, (N, 1 + P, C)."""


def sentences(object_name: str) -> tuple[list[str], list[str]]:
    """The 198 normal and the 220 abnormal sentences, by state and then by template."""
    return _ensemble(NORMAL_STATES, object_name), _ensemble(ABNORMAL_STATES, object_name)


def _ensemble(states: Sequence[str], object_name: str) -> list[str]:
    phrases = [state.format(object_name) for state in states]
    return [template.format(phrase) for phrase in phrases for template in TEMPLATES]


def representative_vector(vectors: Floats, *, eps: float = EPS, min_samples: int = MIN_SAMPLES) -> Floats:
    """The unit mean (C,) of the largest DBSCAN cluster among unit vectors (M, C).

    Noise (label -1) is no cluster; without a cluster all vectors count; of equal clusters the first found.
    """
    labels = DBSCAN(eps=eps, min_samples=min_samples, metric="euclidean").fit_predict(vectors)
    if (labels < 0).all():
        return unit(vectors.mean(axis=0))
    largest = np.bincount(labels[labels >= 0]).argmax()
    return unit(vectors[labels == largest].mean(axis=0))


def text_features(clip: Clip, object_name: str, tokenize: Tokenize, *, mean: bool = False) -> Floats:
    """`F_t` (2, C), row 0 normal, by representative vector selection or (`mean`) by the plain mean."""
    vectors = [encode_text(clip, tokenize(s)) for s in sentences(object_name)]
    return np.stack([unit(v.mean(axis=0)) if mean else representative_vector(v) for v in vectors])


def dual_path(clip: Clip, pixels: Floats, *, variant: Variant = PAPER) -> DualPath:
    """Run both paths on normalised pixels (N, 3, S, S)."""
    per_stage, rest = divmod(clip.image_layers, STAGES)
    if rest:
        raise ValueError(f"expected a tower of a multiple of {STAGES} blocks, got {clip.image_layers}")
    x = embed_patches(clip, pixels)
    own = np.zeros_like(x)
    original, surgery = [], []
    for number, block in enumerate(image_blocks(clip)):
        added = vv_attention(clip, block, x, variant=variant)
        own = added if number % per_stage == 0 and variant.reset else own + added
        x = run_block(clip.activation, clip.image_heads, block, x)
        if (number + 1) % per_stage == 0:
            original.append(x)
            surgery.append(np.concatenate([x[:, :1], own[:, 1:]], axis=1) if variant.ordinary_cls else own)
    features = tuple(unit(project(clip, tokens)) for tokens in surgery)
    return DualPath(original=tuple(original), surgery=tuple(surgery), features=features)


def vv_attention(clip: Clip, block: Mapping[str, Floats], x: Floats, *, variant: Variant = PAPER) -> Floats:
    """`W_o softmax(v v^T / sqrt d) v` of the block's input (N, T, width), `v` taken from `LN1(x)`."""
    query, key, value = split_qkv(clip.image_heads, block, layer_norm(block, "ln_1", x))
    return attend(block, value, value, value) if variant.values_only else attend(block, query, key, value)


def surgery_similarity(features: Floats, text: Floats, *, variant: Variant = PAPER) -> Floats:
    """Two-class feature surgery of one stage: unit features (N, 1 + P, C) -> patch values (N, P).

    `p_a <f, t_a> - p_n <f, t_n>` with `p` the stage's own class token's softmax, without a temperature.
    """
    similarities = features @ text.T
    shares = softmax(variant.temperature * similarities[:, 0])
    weighted = shares[:, None, :] * similarities[:, 1:]
    return weighted[..., 1] - weighted[..., 0]


def sdp_map(clip: Clip, pixels: Floats, text: Floats, *, sigma: float = 8.0, variant: Variant = PAPER) -> Floats:
    """SDP's maps (N, S, S): the stages' sum, stretched (corners not aligned), blurred by `sigma` pixels."""
    paths = dual_path(clip, pixels, variant=variant)
    return _blur(_unblurred(paths, text, pixels.shape[2:], variant), sigma, variant)


def sdp_plus_map(
    clip: Clip,
    pixels: Floats,
    text: Floats,
    linears: Sequence[Linear],
    *,
    sigma: float = 8.0,
    variant: Variant = PAPER,
) -> Floats:
    """SDP+'s maps (N, S, S): SDP's and APRIL-GAN's zero-shot stages on the original path, blurred together."""
    paths = dual_path(clip, pixels, variant=variant)
    size = (pixels.shape[2], pixels.shape[3])
    total = _unblurred(paths, text, size, variant)
    read = paths.surgery if variant.linears_on_surgery else paths.original
    for tokens, layer in zip(read, linears, strict=True):
        total = total + zero_shot_map(_grid(tokens[:, 1:]), layer, text, size)
    return _blur(total, sigma, variant)


def _unblurred(paths: DualPath, text: Floats, size: tuple[int, ...], variant: Variant) -> Floats:
    summed = np.sum([surgery_similarity(f, text, variant=variant) for f in paths.features], axis=0)
    return bilinear(_grid(summed[..., None])[..., 0], (size[0], size[1]), align_corners=variant.align_corners)


def _grid(tokens: Floats) -> Floats:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.reshape(len(tokens), side, side, -1)


def _blur(maps: Floats, sigma: float, variant: Variant) -> Floats:
    return maps if not variant.blur else np.stack([gaussian_filter(one, sigma) for one in maps])
