"""An evaluation as a document: what came out, and all that it came from."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from core.datasets import Dataset
from core.evaluation.panel import Panel
from core.evaluation.published import published
from core.evaluation.run import Evaluation
from core.evaluation.table import Setting, markdown

PACKAGES = ("aprilgan-inspector", "torch", "open_clip_torch", "timm", "numpy", "scikit-learn")


def as_json(evaluation: Evaluation, panel: Panel, dataset: Dataset) -> dict[str, Any]:
    """`rows` and `mean` as contract.md has them, and `meta`: encoder, data, options, versions, published rows."""
    return {
        "rows": [row.as_json() for row in evaluation.rows],
        "mean": [row.as_json() for row in evaluation.mean],
        "meta": {
            "dataset": {"layout": dataset.layout, "name": dataset.root.name, "sha256": evaluation.digests},
            "encoder": _encoder(panel),
            "options": asdict(panel.options),
            "published_percent": _published(evaluation, panel, dataset),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "machine": machine(panel),
            "at": _now(),
            "seconds": {part: round(value, 3) for part, value in asdict(evaluation.seconds).items()},
        },
    }


def as_markdown(evaluation: Evaluation, panel: Panel, dataset: Dataset) -> str:
    """The papers' table with the published rows beside, and a table a class."""
    encoder = _encoder(panel)
    facts = {
        "encoder": f"{encoder['id']}, stages {', '.join(map(str, encoder['stages']))}, {encoder['precision']}",
        "linear layers": ", ".join(f"{method} {sha}" for method, sha in encoder["layers"].items()) or "none",
        "data": ", ".join(f"{name} {sha256[:12]}" for name, sha256 in evaluation.digests.items()),
        "prompts": f"classes by {panel.options.object_names}",
        "machine": machine(panel),
        "at": _now(),
    }
    setting = Setting(layout=dataset.layout, classes=len(dataset.classes), encoder=panel.encoder.spec, facts=facts)
    return markdown(evaluation.rows, evaluation.mean, setting)


def machine(panel: Panel) -> str:
    """Processor and cores, and the GPU where one was used."""
    device = panel.encoder.torch_device
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ", no GPU used"
    return f"{_processor()}, {os.cpu_count()} cores{gpu}"


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _encoder(panel: Panel) -> dict[str, Any]:
    encoder = panel.encoder
    layers = {method: scorer.adapter_sha256 for method, scorer in panel.scorers.items()}
    return {
        "id": encoder.id,
        "stages": list(encoder.stages),
        "matched": list(encoder.matched),
        "image_size": encoder.image_size,
        "activation": encoder.spec.activation,
        "device": encoder.device,
        "precision": encoder.precision,
        "layers": {method: sha256 for method, sha256 in layers.items() if sha256 is not None},
    }


def _published(evaluation: Evaluation, panel: Panel, dataset: Dataset) -> list[dict[str, Any]]:
    """The papers' rows for what was measured, each once."""
    rows = []
    for method, shots in dict.fromkeys((row.method, row.shots) for row in evaluation.mean):
        theirs = published(method, dataset.layout, shots, encoder=panel.encoder.spec, classes=len(dataset.classes))
        if theirs is not None:
            rows.append({"method": method, "shots": shots, **asdict(theirs)})
    return rows


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
