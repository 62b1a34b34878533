"""Bank match as the bank grows, blocked and by the whole tokens x bank matrix: time, and memory beyond the inputs.

One stage of ViT-L-14 at 518 pixels (1369 tokens of 1024 channels) against 1 to 64 references. Each measurement has
a process of its own, because only a process knows its own peak.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.result import Result
from core.neighbours import nearest_distance

TOKENS, CHANNELS = 1369, 1024
SHOTS = (1, 4, 16, 64)
MIB = 1 << 20


def results() -> Iterator[Result]:
    """Time against the whole matrix, and the memory of both, for each size of bank."""
    for shots in SHOTS:
        (blocked_s, blocked_mib), (whole_s, whole_mib) = (_in_a_process(form, shots) for form in FORMS)
        bank_mib = shots * TOKENS * CHANNELS * 4 / MIB
        detail = {"shots": shots, "bank_mib": round(bank_mib, 1)}
        yield Result(
            name=f"match_{shots}_shots_time_over_whole_matrix",
            value=blocked_s / whole_s,
            target=None,
            detail={**detail, "blocked_ms": round(1e3 * blocked_s, 1), "whole_ms": round(1e3 * whole_s, 1)},
        )
        yield Result(
            name=f"match_{shots}_shots_extra_memory_over_bank",
            value=blocked_mib / bank_mib,
            # The row is for 4 shots; a smaller bank is smaller than any workspace.
            target=0.1 if shots >= 4 else None,
            at_most=True,
            detail={**detail, "blocked_mib": round(blocked_mib, 1), "whole_mib": round(whole_mib, 1)},
        )


def whole_matrix(tokens: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """The definition."""
    return ((1.0 - tokens @ bank.T) / 2.0).amin(dim=1)


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "blocked": nearest_distance,
    "whole": whole_matrix,
}


def _in_a_process(form: str, shots: int) -> tuple[float, float]:
    """(seconds, MiB beyond the inputs)."""
    command = [sys.executable, "-m", "benchmarks.match_speed", form, str(shots)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, mib = map(float, done.stdout.split())
    return seconds, mib


@torch.inference_mode()
def _measure(form: str, shots: int) -> tuple[float, float]:
    tokens = torch.nn.functional.normalize(torch.randn(TOKENS, CHANNELS), dim=1)
    bank = torch.randn(shots * TOKENS, CHANNELS)
    bank /= bank.norm(dim=1, keepdim=True)
    FORMS[form](tokens[:64], bank[:64])  # threads, and the library's own workspaces
    _raise_peak_to_now()
    before = _peak_bytes()
    FORMS[form](tokens, bank)
    extra = _peak_bytes() - before
    times = []
    for _ in range(3):
        start = time.perf_counter()
        FORMS[form](tokens, bank)
        times.append(time.perf_counter() - start)
    return min(times), extra / MIB


def _raise_peak_to_now() -> None:
    """Linux: forget the peak, so that the one that follows is the match's own."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(*_measure(sys.argv[1], int(sys.argv[2])))
