"""Devices and their memory: what there is is told, what there is not is None."""

from __future__ import annotations

import pytest
import torch

from core.device import device_memory


def test_a_cpu_has_no_memory_of_its_own_to_tell_of() -> None:
    assert device_memory(torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="device memory takes a GPU, and this machine has none")
def test_what_tensors_hold_is_part_of_what_was_taken_and_that_of_what_there_is() -> None:
    device = torch.device("cuda", 0)
    before = device_memory(device)
    held = torch.zeros(64 << 20, dtype=torch.uint8, device=device)
    after = device_memory(device)
    assert before is not None
    assert after is not None
    assert after.allocated - before.allocated == held.nbytes
    assert after.allocated <= after.reserved
    assert after.reserved + after.free <= after.total
