"""The allocator keeps what it is told to keep."""

from __future__ import annotations

import subprocess
import sys

ALLOCATE = """
import resource, sys
from daemon.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("refused")
bytearray(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    command = [sys.executable, "-c", ALLOCATE, mode]
    # glibc raises its own threshold once such a block was freed; a fixed one shows what a mapping each costs
    environment = {} if mode == "keep" else {"MALLOC_MMAP_THRESHOLD_": "131072"}
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def test_freed_memory_is_used_again_without_asking_the_kernel_for_every_page():
    assert faults("keep") * 10 < faults("return")
