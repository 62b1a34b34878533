"""What the worker knows of the device that its scorer computes on."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import core
from daemon.warmup import Cores

LANES_OF_A_GPU = 2
"""To be held against one: a batch is prepared while another is computed."""


def cores_of(encoder: core.Encoder) -> Cores:
    """What lanes may share out."""
    if encoder.device == "cpu":
        return Cores(count=core.compute_threads(), compute_with=core.compute_with)
    return Cores(count=LANES_OF_A_GPU, finish=partial(core.finish, encoder.torch_device))


def memory_of(encoder: core.Encoder) -> dict[str, int]:
    """Bytes by name of link.WorkerStatus.device_memory; nothing of a CPU."""
    memory = core.device_memory(encoder.torch_device)
    return {} if memory is None else asdict(memory)
