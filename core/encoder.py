"""The frozen image tower: pictures in, stage tokens out.

Stages are counted from 1: block 6 of a ViT is stage 6, the stride-16 level of a CNN is stage 4. ViT tokens are
the residual stream after the block, without the final norm and projection and without the class token.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from core.device import choose_device
from core.digests import joint_digest, tensor_digests
from core.errors import EncoderError
from core.features import Features
from core.graphs import BUCKETS, Bucketed, Tensors
from core.image import Image
from core.int8_products import multiplies_int8
from core.precision import SMALL_PARAMETERS, choose, has_units, name, reason, try_precisions
from core.preprocess import to_input
from core.presets import Activation, EncoderSpec, MatchOptions, has_text_tower, needed_parts, resolve_spec
from core.quick_blocks import has_plain_blocks, quicken
from core.towers import build_tower, is_resnet, is_timm

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16", "int8"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}

RESNET_LEVELS = 5
RESIZED = ("positional_embedding",)
"""Weights that loading stretches to the image size, so that they say nothing of which tower it is."""


class Encoder(nn.Module):
    """A frozen image tower with its preprocessing. Build it with `load_encoder`.

    tower: any module with open_clip's `forward_intermediates`. weights_sha256: digest of the tower's tensors.
    dtype: of the arithmetic; int8 takes a plain transformer on a CPU, and means its blocks' products: all else is
    bfloat16 then, and so are the tokens. buckets: the batch sizes that a GPU computes with, see core.graphs.

    Raises EncoderError for int8 where it is not to be had.
    """

    def __init__(
        self,
        tower: nn.Module,
        spec: EncoderSpec,
        *,
        device: torch.device,
        dtype: torch.dtype,
        buckets: Sequence[int] = BUCKETS,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.has_image_embedding = has_text_tower(spec)
        tensors = tensor_digests(tower.state_dict())
        self.weights_sha256 = joint_digest(tensors)
        self._tower_sha256 = joint_digest({name: tensors[name] for name in tensors if name not in RESIZED})
        self.torch_device = device
        self.buckets = tuple(buckets)
        self._arithmetic, self.dtype = dtype, _token_dtype(dtype)
        layout = torch.channels_last if is_timm(spec) else torch.preserve_format
        self.tower = (
            tower.eval().requires_grad_(False).to(device=device, dtype=self.dtype).to(memory_format=layout)
        )
        self._memory_format = layout
        self._levels = sorted({stage - 1 for stage in spec.stages} | self._levels_beside())
        self._quicken()
        # Only a GPU gains by fixed batch sizes; a CPU would compute the padding.
        self._bucketed = Bucketed(self._maps, buckets=buckets, capture=True) if device.type == "cuda" else None

    @property
    def id(self) -> str:
        """Names the function this encoder computes: model, size, activation, weights. Not device or precision."""
        spec = self.spec
        return f"{spec.name}@{spec.image_size}/{spec.activation}/{self.weights_sha256[:16]}"

    @property
    def tower_id(self) -> str:
        """Names the tower alone, whatever size its pictures have: what linear layers were trained on."""
        return f"{self.spec.activation}/{self._tower_sha256[:16]}"

    @property
    def device(self) -> str:
        """ "cpu" or "cuda:0"."""
        return str(self.torch_device)

    @property
    def precision(self) -> str:
        """ "float32", "bfloat16" or "int8"."""
        return name(self._arithmetic)

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.spec.image_size

    @property
    def stages(self) -> tuple[int, ...]:
        """1-based stages whose tokens `encode` returns."""
        return self.spec.stages

    @property
    def matched(self) -> tuple[int, ...]:
        """1-based stages whose tokens banks hold, all of `stages` or some."""
        return self.spec.matched or self.spec.stages

    @property
    def stage_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Per stage (h, w, C). Raises EncoderError for a stage it lacks."""
        return self._shapes[0]

    @property
    def embedding_width(self) -> int | None:
        """E of the image embedding, None where the tower has none."""
        return self._shapes[1]

    @cached_property
    def _shapes(self) -> tuple[tuple[tuple[int, int, int], ...], int | None]:
        """Of the stages and of the image embedding, from one pass over a grey picture."""
        features = self(torch.zeros(1, 3, self.image_size, self.image_size, device=self.torch_device))
        stages = tuple(
            (*grid, int(stage.shape[2])) for grid, stage in zip(features.grids, features.stages, strict=True)
        )
        return stages, None if features.image is None else int(features.image.shape[1])

    def matched_tokens(self, features: Features, match: MatchOptions) -> Features:
        """What banks hold of features: the matched stages' tokens along a path, joined or apart."""
        matched = features.along(match.tokens).of_stages([self.stages.index(stage) for stage in self.matched])
        return matched.as_one() if match.joined else matched

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
        """pixels: (N, 3, S, S) float32, normalised. On a GPU N is padded to the next bucket, see core.graphs."""
        try:
            maps = self._maps(pixels) if self._bucketed is None else self._bucketed(pixels)
        except (AssertionError, IndexError) as error:
            raise EncoderError(f"{self.spec.name} has no stages {list(self.stages)}: {error}") from error
        stages = maps[: len(self.stages)]
        return Features(
            stages=tuple(stage.flatten(2).transpose(1, 2) for stage in stages),
            grids=tuple((int(stage.shape[2]), int(stage.shape[3])) for stage in stages),
            image=maps[-1] if self.has_image_embedding else None,
        )

    def in_precision(self, dtype: torch.dtype) -> Encoder:
        """A copy of a float32 encoder that computes in another precision: weights rounded, name the same.

        Raises ValueError for any other encoder, whose weights are rounded already, EncoderError as the class does.
        """
        if self.dtype != torch.float32:
            raise ValueError(f"expected an encoder in float32, got one in {self.precision}")
        twin = copy.deepcopy(self)
        twin._arithmetic, twin.dtype = dtype, _token_dtype(dtype)
        twin.tower.to(twin.dtype)
        twin._quicken()
        return twin

    def precisions_to_try(self) -> list[torch.dtype]:
        """What this CPU may compute this tower in besides float32, from the finest to the coarsest."""
        if sum(weight.numel() for weight in self.parameters()) < SMALL_PARAMETERS or not has_units(torch.bfloat16):
            return []
        int8 = has_units(torch.int8) and multiplies_int8() and has_plain_blocks(self.tower)
        return [torch.bfloat16, torch.int8] if int8 else [torch.bfloat16]

    def _quicken(self) -> None:
        """float32 stays the tower's own forward pass, which everything else is held against."""
        on_cpu, int8 = self.torch_device.type == "cpu", self._arithmetic == torch.int8
        if int8 and not (on_cpu and multiplies_int8() and has_plain_blocks(self.tower)):
            raise EncoderError(
                "expected a plain vision transformer on a CPU and a torch with oneDNN for precision int8, got "
                f"{self.spec.name} on {self.device}; take bfloat16 or float32"
            )
        if self.dtype == torch.bfloat16 and on_cpu:
            quicken(self.tower, int8=int8)

    def _maps(self, pixels: torch.Tensor) -> Tensors:
        """(N, 3, S, S) to (N, C_s, h_s, w_s) a stage, then the (N, E) image embedding where there is one."""
        pixels = pixels.to(dtype=self.dtype, memory_format=self._memory_format)
        output = self.tower.forward_intermediates(  # type: ignore[operator]
            pixels,
            indices=self._levels,
            output_fmt="NCHW",
            intermediates_only=not self.has_image_embedding,
            stop_early=not self.has_image_embedding,
        )
        maps = tuple(output["image_intermediates"][: len(self.stages)])
        if not self.has_image_embedding:
            return maps
        return (*maps, nn.functional.normalize(output["image_features"].float(), dim=-1))

    def _levels_beside(self) -> set[int]:
        """0-based levels to run for the image embedding's sake: open_clip's ResNet stops at the last one asked."""
        return {RESNET_LEVELS - 1} if is_resnet(self.spec) and self.has_image_embedding else set()


def load_encoder(
    preset: str,
    *,
    weights: Path | str | None = None,
    activation: Activation | None = None,
    stages: tuple[int, ...] | None = None,
    image_size: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    words: bool | None = None,
    buckets: Sequence[int] = BUCKETS,
) -> Encoder:
    """Build a frozen encoder with its pretrained weights; never a random one.

    preset: "lite", "april-gan", "sdp", or the path of an open_clip model config (JSON).
    weights: a local state dict (`.safetensors`, or `.pt` read with weights_only). None: the packaged files for
    "lite", open_clip's download for the other presets.
    device: "auto" takes a GPU when there is one and says so; "cuda" without one is an error.
    precision: "auto" is bfloat16 on a GPU; on a CPU it is bfloat16 or int8 where a trial finds it quicker and the
    same in what it tells (core.precision), float32 everywhere else. int8: see Encoder.
    words: False leaves out what banks alone do not take, where that saves work: for "lite" the last stage and
    the image embedding. None: as the preset's own method needs it.
    buckets: the batch sizes that a GPU computes with; smaller batches are padded, larger ones go in pieces.

    Raises EncoderError, WeightsError or DeviceError, each saying what was expected and what came.
    """
    spec = resolve_spec(preset, activation=activation, stages=stages, image_size=image_size)
    spec = needed_parts(spec, words=words)
    place = choose_device(device)
    tower = build_tower(spec, Path(weights) if weights is not None else None)
    encoder = Encoder(tower, spec, device=place, dtype=_dtype_to_start_with(precision, place), buckets=buckets)
    shapes = encoder.stage_shapes  # a missing stage is an error now, not at the first frame
    if precision == "auto" and place.type == "cpu":
        encoder = _in_best_precision(encoder)
    log.info("encoder %s on %s in %s, stages %s", encoder.id, encoder.device, encoder.precision, shapes)
    return encoder


def _token_dtype(arithmetic: torch.dtype) -> torch.dtype:
    return torch.bfloat16 if arithmetic == torch.int8 else arithmetic


def _dtype_to_start_with(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[precision]


def _in_best_precision(encoder: Encoder) -> Encoder:
    """A float32 encoder on a CPU as it is, or in what is quicker and tells the same."""
    twins = {dtype: encoder.in_precision(dtype) for dtype in encoder.precisions_to_try()}
    if not twins:
        log.info('precision "auto" took float32: the tower is small, or this processor has no units for bfloat16')
        return encoder
    others = {dtype: twin.encode for dtype, twin in twins.items()}
    trials = try_precisions(encoder.encode, others, size=encoder.image_size)
    log.info('precision "auto" took %s', reason(trials))
    return twins.get(choose(trials), encoder)
