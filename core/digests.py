"""Digests of tensors: what tells one set of weights from another, wherever it was stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch


def tensor_digests(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Name to what tells a tensor from others: shape, dtype, sha256."""
    digests = {}
    for name, tensor in state.items():
        content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        digests[name] = f"{list(tensor.shape)} {tensor.dtype} {hashlib.sha256(content.data).hexdigest()}"
    return digests


def joint_digest(digests: Mapping[str, str]) -> str:
    """One sha256, hex, of `tensor_digests`, whatever their order."""
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()
