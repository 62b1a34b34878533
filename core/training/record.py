"""What trained files say of their making. No clock, no path: the same training writes the same bytes."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from core.datasets import Dataset
from core.training.examples import Split


def data_record(dataset: Dataset, digest: str, parts: Split) -> dict[str, Any]:
    """The data set, and what of it was seen."""
    return {
        "layout": dataset.layout,
        "data_sha256": digest,
        "classes": [kind.name for kind in dataset.classes],
        "pictures": {"seen": len(parts.seen), "held_out": len(parts.held_out)},
    }


def versions() -> dict[str, str]:
    """Of the libraries whose arithmetic makes the weights."""
    return {name: version(name) for name in ("torch", "open_clip_torch", "timm")}
