"""The allocator keeps what it is told to keep."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALLOCATE = """
import resource, sys, threading
from daemon.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("refused")
def count_faults():
    bytearray(16_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [bytearray(16_000_000) for _ in range(6)]
        del blocks
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[2] == "beside":
    thread = threading.Thread(target=count_faults)
    thread.start()
    thread.join()
else:
    count_faults()
"""


def faults(mode: str, thread: str) -> int:
    command = [sys.executable, "-c", ALLOCATE, mode, thread]
    # glibc raises its own threshold once such a block was freed; a fixed one shows what a mapping each costs
    environment = {} if mode == "keep" else {"MALLOC_MMAP_THRESHOLD_": "131072"}
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("thread", ["main", "beside"])
def test_freed_memory_is_used_again_without_asking_the_kernel_for_every_page(thread):
    assert faults("keep", thread) * 10 < faults("return", thread)
