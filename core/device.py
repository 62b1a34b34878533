"""Which device the library computes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from core.errors import DeviceError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Bytes.

    allocated: held by this process's tensors. reserved: taken from the driver by it, whether used or not. free,
    total: of the device as a whole, whoever uses it.
    """

    allocated: int
    reserved: int
    free: int
    total: int


def device_memory(device: torch.device) -> DeviceMemory | None:
    """What memory a GPU has; None for a device without memory of its own.

    For the thread that computes there: the process's numbers are counters on the host, but asking for the device's
    (cudaMemGetInfo) makes a context where there is none, and waits where the device hangs.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(
        allocated=torch.cuda.memory_allocated(device),
        reserved=torch.cuda.memory_reserved(device),
        free=free,
        total=total,
    )


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


def finish(device: torch.device) -> None:
    """Wait until the device has computed all it was asked for: a GPU's calls return before. A CPU's do not."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
