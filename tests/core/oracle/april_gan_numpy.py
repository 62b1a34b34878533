"""APRIL-GAN in float64 NumPy: prompts, zero-shot and few-shot maps, image scores, and the method's mutants.

Every detail that is easily lost is a field of `Variant`; its defaults are the method, and `MUTANTS` names the
wrong forms that a parity test has to tell from it. Results carry the names of `--save-maps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from tests.core.oracle.arrays import Floats, Ints, bilinear, softmax, unit
from tests.core.oracle.clip_numpy import Clip, ImageFeatures, encode_image, encode_text, layer_norm

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL_STATES = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a photo of a large {}.",
    "a blurry photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

Tokenize = Callable[[Sequence[str]], Ints]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The choices that make APRIL-GAN's numbers; any value but the default is a mutant."""

    temperature: float = 100.0
    stage_shift: int = 0
    ln_post_on_tokens: bool = False
    cls_kept: bool = False
    """Queries keep the class token and lose the last patch; the bank holds it beside all patches."""
    softmax_before_upsample: bool = False
    align_corners: bool = True
    mean_of_stages: bool = False
    bank_after_linear: bool = False
    states_swapped: bool = False


PAPER = Variant()
MUTANTS = {
    "layer off by one": Variant(stage_shift=-1),
    "ln_post added": Variant(ln_post_on_tokens=True),
    "CLS kept": Variant(cls_kept=True),
    "softmax before upsample": Variant(softmax_before_upsample=True),
    "align_corners False": Variant(align_corners=False),
    "mean for sum": Variant(mean_of_stages=True),
    "bank after the linear": Variant(bank_after_linear=True),
    "temperature 1": Variant(temperature=1.0),
    "normal/abnormal swapped": Variant(states_swapped=True),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """One stage's trained layer, `t W^T + b`: weight (C, width), bias (C,)."""

    weight: Floats
    bias: Floats

    def __call__(self, tokens: Floats) -> Floats:
        """Tokens (..., width) -> (..., C)."""
        return tokens @ self.weight.T + self.bias


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspection:
    """Scores of N images at S x S pixels from K stages."""

    zero_shot_stages: Floats
    """(K, N, S, S), each in [0, 1]."""
    few_shot_stages: Floats | None
    """(K, N, S, S), each in [0, 2]; None without references."""
    map: Floats
    """(N, S, S): the stages' sum, zero-shot and few-shot 1:1."""
    text_score: Floats
    """(N,): the probability of the abnormal state."""


def sentences(object_name: str) -> tuple[list[str], list[str]]:
    """The 245 normal and the 175 abnormal sentences of an object."""
    return _ensemble(NORMAL_STATES, object_name), _ensemble(ABNORMAL_STATES, object_name)


def _ensemble(states: Sequence[str], object_name: str) -> list[str]:
    phrases = [state.format(object_name) for state in states]
    return [template.format(phrase) for phrase in phrases for template in TEMPLATES]


def text_features(clip: Clip, object_name: str, tokenize: Tokenize) -> Floats:
    """`F_t` (2, C), row 0 normal: the mean of each state's unit sentence vectors, made unit again."""
    return np.stack([unit(encode_text(clip, tokenize(s)).mean(axis=0)) for s in sentences(object_name)])


def inspect(
    clip: Clip,
    pixels: Floats,
    *,
    text: Floats,
    linears: Sequence[Linear],
    stages: Sequence[int],
    references: Floats | None = None,
    variant: Variant = PAPER,
) -> Inspection:
    """The whole method on normalised pixels (N, 3, S, S), references (R, 3, S, S); stages count from 1."""
    size = (pixels.shape[2], pixels.shape[3])
    features = encode_image(clip, pixels)
    grids = stage_grids(clip, features, stages, variant=variant)
    staged = list(zip(grids, linears, strict=True))
    zero_shot = np.stack([zero_shot_map(grid, layer, text, size, variant=variant) for grid, layer in staged])
    few_shot = None
    if references is not None:
        banks = stage_banks(clip, encode_image(clip, references), stages, linears, variant=variant)
        queries = [_bank_side(grid, layer, variant) for grid, layer in staged]
        matched = zip(queries, banks, strict=True)
        few_shot = np.stack([few_shot_map(query, bank, size, variant=variant) for query, bank in matched])
    combine = np.mean if variant.mean_of_stages else np.sum
    total = combine(zero_shot, axis=0) + (0.0 if few_shot is None else combine(few_shot, axis=0))
    return Inspection(
        zero_shot_stages=zero_shot,
        few_shot_stages=few_shot,
        map=np.asarray(total, dtype=np.float64),
        text_score=text_score(features.embedding, text, variant=variant),
    )


def stage_grids(
    clip: Clip, features: ImageFeatures, stages: Sequence[int], *, variant: Variant = PAPER
) -> list[Floats]:
    """Per stage the residual stream's patch tokens as grids (N, h, w, width): no class token, no norm."""
    streams = _stage_streams(clip, features, stages, variant)
    patches = [x[:, :-1] if variant.cls_kept else x[:, 1:] for x in streams]
    side = round(patches[0].shape[1] ** 0.5)
    return [tokens.reshape(len(tokens), side, side, -1) for tokens in patches]


def stage_banks(
    clip: Clip,
    features: ImageFeatures,
    stages: Sequence[int],
    linears: Sequence[Linear],
    *,
    variant: Variant = PAPER,
) -> list[Floats]:
    """Per stage all patch tokens of all references at unit length, (R * P, width); before the linear layer."""
    streams = _stage_streams(clip, features, stages, variant)
    kept = [x if variant.cls_kept else x[:, 1:] for x in streams]
    sided = [_bank_side(x, layer, variant) for x, layer in zip(kept, linears, strict=True)]
    return [unit(x.reshape(-1, x.shape[-1])) for x in sided]


def _stage_streams(clip: Clip, features: ImageFeatures, stages: Sequence[int], variant: Variant) -> list[Floats]:
    streams = [features.after_block(stage + variant.stage_shift) for stage in stages]
    if variant.ln_post_on_tokens:
        return [layer_norm(clip.weights, "visual.ln_post", x) for x in streams]
    return streams


def _bank_side(tokens: Floats, layer: Linear, variant: Variant) -> Floats:
    return layer(tokens) if variant.bank_after_linear else tokens


def zero_shot_map(
    grid: Floats, layer: Linear, text: Floats, size: tuple[int, int], *, variant: Variant = PAPER
) -> Floats:
    """One stage's map (N, H, W) in [0, 1] of its tokens (N, h, w, width); any resolution of tokens.

    The logits of both states are stretched first and the softmax taken after.
    """
    logits = variant.temperature * (unit(layer(grid)) @ text.T)
    if variant.softmax_before_upsample:
        return _upsample(_abnormal(logits, variant), size, variant)
    stretched = np.stack([_upsample(logits[..., state], size, variant) for state in (0, 1)], axis=-1)
    return _abnormal(stretched, variant)


def cheap_zero_shot_map(grid: Floats, layer: Linear, text: Floats, size: tuple[int, int]) -> Floats:
    """`zero_shot_map` by its one-channel form, `sigmoid(upsample(100 (s_abnormal - s_normal)))`."""
    similarities = unit(layer(grid)) @ text.T
    return np.asarray(expit(_upsample(100.0 * (similarities[..., 1] - similarities[..., 0]), size, PAPER)))


def bank_distance(tokens: Floats, bank: Floats, *, bounded: bool = False) -> Floats:
    """`min over the bank of 1 - cos` for tokens (..., width): (...), in [0, 2]; `bounded` halves it to [0, 1]."""
    distance: Floats = 1.0 - (unit(tokens) @ unit(bank).T).max(axis=-1)
    return distance / 2.0 if bounded else distance


def few_shot_map(
    grid: Floats, bank: Floats, size: tuple[int, int], *, bounded: bool = False, variant: Variant = PAPER
) -> Floats:
    """One stage's bank distance (N, H, W) of its tokens (N, h, w, width) against a bank (M, width)."""
    return _upsample(bank_distance(grid, bank, bounded=bounded), size, variant)


def text_score(embedding: Floats, text: Floats, *, variant: Variant = PAPER) -> Floats:
    """The probability (N,) that image embeddings (N, C) show the abnormal state."""
    return _abnormal(variant.temperature * (unit(embedding) @ text.T), variant)


def paper_image_scores(text_scores: Floats, maps: Floats) -> Floats:
    """The few-shot scores (N,) of one object's whole test set: `0.5 (p_text + m')`.

    `m'` is the largest value of each summed map (N, S, S), min-max scaled over those N images: transductive.
    """
    peaks: Floats = maps.max(axis=(1, 2))
    if peaks.max() == peaks.min():
        raise ValueError("expected a test set whose maps differ in their largest value, got one value only")
    scaled: Floats = (peaks - peaks.min()) / (peaks.max() - peaks.min())
    return 0.5 * (text_scores + scaled)


def stage_statistics(maps: Floats) -> Floats:
    """The streaming score's statistics of one stage's maps (N, S, S): (N, 3) of max, top 1 % mean, mean.

    The top 1 % is rounded down to whole pixels, with one pixel at least.
    """
    ordered = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    top = max(1, ordered.shape[1] // 100)
    return np.stack([ordered[:, 0], ordered[:, :top].mean(axis=1), ordered.mean(axis=1)], axis=1)


def _upsample(grids: Floats, size: tuple[int, int], variant: Variant) -> Floats:
    return bilinear(grids, size, align_corners=variant.align_corners)


def _abnormal(logits: Floats, variant: Variant) -> Floats:
    return softmax(logits)[..., 0 if variant.states_swapped else 1]
