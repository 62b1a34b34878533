"""Weights and device: only known by loading them as the worker does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CoreError, DeviceError
from daemon.admin.doctor.finding import Finding
from daemon.admin.session import Session
from daemon.settings import ConfigurationError

if TYPE_CHECKING:
    from core import Encoder

GPU_NODE = Path("/dev/nvidia0")
_NO_GPU = (
    'without a GPU set [model] device = "auto" or "cpu"; with one, nvidia-smi must show it, and the service needs '
    "its drop-in: 10-gpu.conf (INSTALL.md)"
)


def check(session: Session) -> tuple[Encoder | None, list[Finding]]:
    """The loaded encoder, None where it cannot be, and the findings."""
    try:
        encoder = session.scorer().encoder
    except DeviceError as error:
        return None, [Finding("gpu", "configuration", f"model.device: {error}", _NO_GPU)]
    except (CoreError, ConfigurationError) as error:
        return None, [Finding("weights", "configuration", str(error), _missing(session))]
    weights = Finding("weights", "ok", f"{encoder.id}, stages {list(encoder.stages)}")
    return encoder, [weights, _gpu(f"{encoder.device} in {encoder.precision}", on_cpu=encoder.device == "cpu")]


def _gpu(where: str, *, on_cpu: bool) -> Finding:
    there = GPU_NODE.exists()
    if there and on_cpu:
        return Finding(
            "gpu", "note", f"an NVIDIA GPU is there, but the encoder runs on {where}", 'device = "cuda"'
        )
    return Finding("gpu", "ok" if there else "note", f"the encoder runs on {where}")


def _missing(session: Session) -> str:
    model = session.settings.model
    gone = [file for file in (model.weights, model.adapter) if file is not None and not file.is_file()]
    if gone:
        return f"bring {gone[0]} (aprilgan-admin bundle --weights FILE carries it), or correct [model]"
    return "correct [model]: preset, weights, adapter and stages have to fit each other"
