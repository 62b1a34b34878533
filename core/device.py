"""Which device the library computes on."""

from __future__ import annotations

import logging

import torch

from core.errors import DeviceError

log = logging.getLogger(__name__)


def choose_device(device: str) -> torch.device:
    """ "auto", "cpu", "cuda" or "cuda:N" to a torch device. Raises DeviceError; never falls back silently."""
    if device == "auto":
        chosen = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        log.info('device "auto" took %s', chosen)
        return chosen
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f'expected device "auto", "cpu", "cuda" or "cuda:N", got {device!r}') from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count()
        if (chosen.index or 0) >= count:
            raise DeviceError(f"device {device!r} was asked for; usable GPUs here: {count}")
        return torch.device("cuda", chosen.index or 0)
    if chosen.type != "cpu":
        raise DeviceError(f'expected device "auto", "cpu", "cuda" or "cuda:N", got {device!r}')
    return chosen
