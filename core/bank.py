"""A product's reference bank: what good parts look like, and everything a score needs that came from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool2d, normalize

from core.calibration import Calibration
from core.decide import Thresholds
from core.encoder import Encoder
from core.errors import MismatchError
from core.image import Image
from core.neighbours import matched_dtype
from core.presets import MatchOptions
from core.region import Roi
from core.score_rule import ScoreRule

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One reference image: what errors call it and the sha256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BankHeader:
    """Everything about a bank but its tensors.

    encoder_id, activation, stages, image_size: of the encoder it belongs to. adapter_sha256: of the linear
    layers, None without. device, precision: what the calibration ran on. source_size: (H, W) of the references.
    map_scale: (low, high) of the pixel map, low where good parts end and high where a heatmap is hottest.
    golden_score: of the golden image, at enrolment. built_at: ISO 8601, UTC.
    """

    product: str
    object_name: str | None
    method: str
    encoder_id: str
    activation: str
    stages: tuple[int, ...]
    image_size: int
    adapter_sha256: str | None
    device: str
    precision: str
    match: MatchOptions
    rule: ScoreRule
    calibration: Calibration
    map_scale: tuple[float, float]
    golden_score: float | None
    source_size: tuple[int, int]
    sources: tuple[Source, ...]
    built_at: str

    @property
    def shots(self) -> int:
        """How many reference images the bank was built from."""
        return len(self.sources)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceBank:
    """Header and tensors, on the CPU.

    tokens: per stage (M_s, C_s) float16, unit length. descriptors: per stage (R, C_s) float32, unit length, the
    mean token of each reference (and of each turned copy). text_features: (2, E) float32 unit rows, normal first,
    or None. golden: (S, S, 3) uint8 RGB, a picture whose score must stay what it was, or None. roi: see
    core.region; None where the whole picture is inspected.
    """

    header: BankHeader
    tokens: tuple[torch.Tensor, ...]
    descriptors: tuple[torch.Tensor, ...]
    text_features: torch.Tensor | None = None
    golden: Image | None = None
    roi: Roi | None = None

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds the bank was calibrated to."""
        return self.header.calibration.thresholds

    @property
    def golden_score(self) -> float | None:
        """What the golden image scored at enrolment."""
        return self.header.golden_score

    def memory(self, device: torch.device) -> Memory:
        """The tensors as they are matched.

        Rounding moved their lengths, the larger part of its error; they are made unit again.
        """
        return Memory(
            tokens=tuple(
                normalize(stage.float().to(device), dim=-1).to(matched_dtype(device)) for stage in self.tokens
            ),
            descriptors=tuple(normalize(stage.to(device).double(), dim=-1) for stage in self.descriptors),
            match=self.header.match,
            roi=self.roi,
        )

    def p_value(self, score: float) -> float | None:
        """Conformal p-value of a score; None unless the bank is calibrated."""
        return self.header.calibration.p_value(score)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """What pictures are matched with, on the device, unit length.

    tokens: per stage (M_s, C_s) of core.neighbours.matched_dtype. descriptors: per stage (R, C_s) float64. match:
    how they were prepared, and pictures have to be. roi: the region that is inspected, on the CPU; None for all.
    """

    tokens: tuple[torch.Tensor, ...]
    descriptors: tuple[torch.Tensor, ...]
    match: MatchOptions
    roi: Roi | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes on the device."""
        return sum(stage.nbytes for stage in (*self.tokens, *self.descriptors))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedBank:
    """A bank checked against an encoder and moved to its device. Build it with `Scorer.prepare`."""

    bank: ReferenceBank
    memory: Memory
    text_features: torch.Tensor | None

    @property
    def size_bytes(self) -> int:
        """Bytes the bank takes on the device."""
        return self.memory.size_bytes


def check_belongs(header: BankHeader, encoder: Encoder, *, method: str, adapter_sha256: str | None) -> None:
    """Raise MismatchError, naming both sides, unless the bank was made for exactly this scorer."""
    pairs: dict[str, tuple[Any, Any]] = {
        "encoder": (header.encoder_id, encoder.id),
        "activation": (header.activation, encoder.spec.activation),
        "stages": (list(header.stages), list(encoder.matched)),
        "image size": (header.image_size, encoder.image_size),
        "method": (header.method, method),
        "adapter": (header.adapter_sha256, adapter_sha256),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise MismatchError(
                f"the bank of product {header.product!r} was made for {what} {theirs}, this scorer has {ours}; "
                f"enrol the product again"
            )


def stage_tokens(stage: torch.Tensor, grid: tuple[int, int], neighbourhood: int) -> torch.Tensor:
    """Raw tokens (N, L, C) to unit tokens (N, L, C) float32, averaged over their neighbourhood.

    Padding is not counted, so a token at the border is the mean of the neighbours it has.
    """
    count, length, channels = stage.shape
    tokens = stage.float()
    if neighbourhood > 1:
        plane = tokens.transpose(1, 2).reshape(count, channels, *grid)
        plane = avg_pool2d(plane, neighbourhood, stride=1, padding=neighbourhood // 2, count_include_pad=False)
        tokens = plane.reshape(count, channels, length).transpose(1, 2)
    return normalize(tokens, dim=-1)


def descriptors(tokens: torch.Tensor) -> torch.Tensor:
    """Unit tokens (N, L, C) to unit mean tokens (N, C) float64: what a picture is like as a whole.

    Whole good pictures lie within 1e-4 of each other, where float32 tells cosines apart by 6e-8 only and the
    score rule would divide that by their spread.
    """
    return normalize(tokens.mean(dim=1, dtype=torch.float64), dim=-1)


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """Any float tensor to a contiguous float32 array on the CPU."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
