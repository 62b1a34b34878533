"""Banks as bytes: one safetensors file with one metadata key of canonical JSON.

One key, because safetensors writes several in changing order and the digest would change with them. The
digest is of the whole file; it is the bank's name everywhere (SQL, Redis, file name).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from core.bank import SCHEMA_VERSION, BankHeader, ReferenceBank, Source
from core.calibration import Calibration
from core.errors import BankError, CoreError
from core.image import Image
from core.presets import MatchOptions
from core.region import Roi
from core.score_rule import ScoreRule

METADATA_KEY = "aprilgan_bank"
MAX_HEADER_BYTES = 16 * 1024 * 1024


def bank_to_bytes(bank: ReferenceBank) -> tuple[bytes, str]:
    """The bank's file content and its sha256 (hex). The same bank gives the same bytes."""
    tensors = {f"stage.{index}": stage.contiguous() for index, stage in enumerate(bank.tokens)}
    tensors |= {f"descriptors.{index}": stage.contiguous() for index, stage in enumerate(bank.descriptors)}
    if bank.text_features is not None:
        tensors["text_features"] = bank.text_features.contiguous()
    if bank.golden is not None:
        tensors["golden"] = torch.from_numpy(bank.golden.copy())
    if bank.roi is not None:
        tensors["roi"] = torch.from_numpy(bank.roi.copy())
    header = {"schema": SCHEMA_VERSION, **asdict(bank.header)}
    canonical = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = save_tensors(tensors, metadata={METADATA_KEY: canonical})
    return data, hashlib.sha256(data).hexdigest()


def bank_from_bytes(data: bytes, *, sha256: str | None = None) -> ReferenceBank:
    """Read a bank back.

    sha256: the digest the bytes must have, from a trusted place; None trusts the bytes.

    Raises BankError for another digest, a damaged file, a foreign file or another schema version.
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise BankError(f"expected a bank with sha256 {sha256}, got {len(data)} bytes with {found}")
    try:
        tensors = load_tensors(data)
        return _assemble(read_header_json(data), tensors)
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        CoreError,
    ) as error:
        raise BankError(f"not a readable bank ({len(data)} bytes): {error!r}") from error


def read_header_json(data: bytes) -> dict[str, Any]:
    """The header's JSON, without the tensors. Raises BankError where there is none."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length or length > MAX_HEADER_BYTES:
        raise BankError(f"expected a safetensors file, got {len(data)} bytes that announce a header of {length}")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if METADATA_KEY not in metadata:
        raise BankError(f"a safetensors file without the key {METADATA_KEY!r}: not a bank of this product")
    header: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return header


def _assemble(fields: dict[str, Any], tensors: dict[str, torch.Tensor]) -> ReferenceBank:
    schema = fields.pop("schema", None)
    if schema != SCHEMA_VERSION:
        raise BankError(f"expected bank schema {SCHEMA_VERSION}, got {schema}")
    header = _header(fields)
    stages = range(len(header.match.bank_stages(header.stages)))
    tokens = tuple(_rows(tensors[f"stage.{index}"], "(M, C) float16 tokens", torch.float16) for index in stages)
    descriptors = tuple(
        _rows(tensors[f"descriptors.{index}"], f"(R, {stage.shape[1]}) float32 descriptors", width=stage.shape[1])
        for index, stage in enumerate(tokens)
    )
    text_features = tensors.get("text_features")
    if text_features is not None:
        text_features = _rows(text_features, "(2, E) float32 text features", count=2)
    return ReferenceBank(
        header=header,
        tokens=tokens,
        descriptors=descriptors,
        text_features=text_features,
        golden=_golden(tensors.get("golden"), header.image_size),
        roi=_roi(tensors.get("roi"), header.image_size),
    )


# Checks of tensors are in NumPy: banks are read by a thread of their own, and a torch operation there would start
# a second pool of OpenMP threads, which makes every small operation of the scorer slower (docs/notes/0006).


def _roi(tensor: torch.Tensor | None, size: int) -> Roi | None:
    if tensor is None:
        return None
    roi = tensor.numpy()
    if roi.shape != (size, size) or roi.dtype != np.uint8 or not roi.any():
        raise BankError(f"expected a region of ({size}, {size}) uint8 that is not empty, got {_kind(tensor)}")
    return roi


def _golden(tensor: torch.Tensor | None, size: int) -> Image | None:
    if tensor is None:
        return None
    if tensor.shape != (size, size, 3) or tensor.dtype != torch.uint8:
        raise BankError(f"expected a golden picture of ({size}, {size}, 3) uint8, got {_kind(tensor)}")
    return tensor.numpy()


def _rows(
    tensor: torch.Tensor,
    expected: str,
    dtype: torch.dtype = torch.float32,
    *,
    count: int | None = None,
    width: int | None = None,
) -> torch.Tensor:
    """The tensor, if it is rows of finite numbers: as many and as wide as said, where that is said."""
    fits = (
        tensor.ndim == 2
        and tensor.dtype == dtype
        and min(tensor.shape) > 0
        and count in (None, tensor.shape[0])
        and width in (None, tensor.shape[1])
    )
    if not fits:
        raise BankError(f"expected {expected}, got {_kind(tensor)}")
    if not np.isfinite(tensor.numpy()).all():
        raise BankError(f"expected {expected}, all finite, got some that are not")
    return tensor


def _kind(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _header(fields: dict[str, Any]) -> BankHeader:
    calibration = Calibration.from_fields(fields.pop("calibration"))
    rule = fields.pop("rule")
    return BankHeader(
        match=MatchOptions(**fields.pop("match")),
        rule=ScoreRule(
            statistics=tuple(rule["statistics"]),
            centre=tuple(rule["centre"]),
            spread=tuple(rule["spread"]),
            text_weight=rule["text_weight"],
        ),
        calibration=calibration,
        stages=tuple(fields.pop("stages")),
        map_scale=tuple(fields.pop("map_scale")),
        source_size=tuple(fields.pop("source_size")),
        sources=tuple(Source(**source) for source in fields.pop("sources")),
        **fields,
    )
