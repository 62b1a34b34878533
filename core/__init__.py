"""APRIL-GAN scoring as a library, without any service.

    encoder = core.load_encoder("lite")
    scorer = core.Scorer(encoder)
    samples = [core.Sample.from_bytes(path.name, path.read_bytes()) for path in good_pictures]
    enrolment = core.enrol(scorer, samples, product="linen")
    bank = scorer.prepare(enrolment.bank)
    result = scorer.score([picture], [bank])[0]
    core.decide.decide(result.score, enrolment.thresholds)

Names are loaded when they are first used: importing the package costs nothing, and a process that only reads
image headers never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.adapter import Adapter, AdapterHeader, adapter_to_bytes, check_adapter, load_adapter
    from core.bank import BankHeader, PreparedBank, ReferenceBank
    from core.bank_building import text_features
    from core.bank_file import bank_from_bytes, bank_to_bytes
    from core.calibration import Calibration
    from core.decide import Decision, Thresholds, ThresholdState
    from core.device import DeviceMemory, device_memory, finish
    from core.encoder import Encoder, load_encoder
    from core.enrolment import Enrolment, enrol, re_enrol, recalibrate
    from core.errors import (
        BankError,
        CalibrationError,
        CoreError,
        DatasetError,
        DeviceError,
        EncoderError,
        EnrolmentError,
        ImageError,
        MetricsError,
        MismatchError,
        WeightsError,
    )
    from core.features import Features
    from core.flow import AnomalyResult, Sample
    from core.image import ImageHeader, decode_image, image_from_raw, read_header
    from core.inspection import Inspection, inspect, paper_memory
    from core.presets import MatchOptions
    from core.scorer import Scorer, load_scorer
    from core.text import TextEncoder, load_text_encoder
    from core.threads import compute_threads, compute_with

_HOMES = {
    "Adapter": "adapter",
    "AdapterHeader": "adapter",
    "adapter_to_bytes": "adapter",
    "check_adapter": "adapter",
    "compute_threads": "threads",
    "compute_with": "threads",
    "AnomalyResult": "flow",
    "BankError": "errors",
    "BankHeader": "bank",
    "Calibration": "calibration",
    "CalibrationError": "errors",
    "CoreError": "errors",
    "DatasetError": "errors",
    "Decision": "decide",
    "DeviceError": "errors",
    "DeviceMemory": "device",
    "Encoder": "encoder",
    "EncoderError": "errors",
    "Enrolment": "enrolment",
    "EnrolmentError": "errors",
    "Features": "features",
    "ImageError": "errors",
    "ImageHeader": "image",
    "Inspection": "inspection",
    "MatchOptions": "presets",
    "MetricsError": "errors",
    "MismatchError": "errors",
    "PreparedBank": "bank",
    "ReferenceBank": "bank",
    "Sample": "flow",
    "Scorer": "scorer",
    "TextEncoder": "text",
    "ThresholdState": "decide",
    "Thresholds": "decide",
    "WeightsError": "errors",
    "bank_from_bytes": "bank_file",
    "bank_to_bytes": "bank_file",
    "decode_image": "image",
    "device_memory": "device",
    "enrol": "enrolment",
    "finish": "device",
    "image_from_raw": "image",
    "inspect": "inspection",
    "load_adapter": "adapter",
    "load_encoder": "encoder",
    "load_scorer": "scorer",
    "load_text_encoder": "text",
    "paper_memory": "inspection",
    "re_enrol": "enrolment",
    "read_header": "image",
    "recalibrate": "enrolment",
    "text_features": "bank_building",
}

__all__ = [
    "Adapter",
    "AdapterHeader",
    "AnomalyResult",
    "BankError",
    "BankHeader",
    "Calibration",
    "CalibrationError",
    "CoreError",
    "DatasetError",
    "Decision",
    "DeviceError",
    "DeviceMemory",
    "Encoder",
    "EncoderError",
    "Enrolment",
    "EnrolmentError",
    "Features",
    "ImageError",
    "ImageHeader",
    "Inspection",
    "MatchOptions",
    "MetricsError",
    "MismatchError",
    "PreparedBank",
    "ReferenceBank",
    "Sample",
    "Scorer",
    "TextEncoder",
    "ThresholdState",
    "Thresholds",
    "WeightsError",
    "adapter_to_bytes",
    "bank_from_bytes",
    "bank_to_bytes",
    "check_adapter",
    "compute_threads",
    "compute_with",
    "decode_image",
    "device_memory",
    "enrol",
    "finish",
    "image_from_raw",
    "inspect",
    "load_adapter",
    "load_encoder",
    "load_scorer",
    "load_text_encoder",
    "paper_memory",
    "re_enrol",
    "read_header",
    "recalibrate",
    "text_features",
]


def __getattr__(name: str) -> object:
    """Load a public name's module at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}")
    return getattr(import_module(f"core.{_HOMES[name]}"), name)
