"""The GPU's kernel in Triton's interpreter, on a CPU, against its plain form."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from core.neighbours import blocked_cosines

# The interpreter is chosen when triton is imported, so the kernel runs in a process of its own.
PROGRAM = """
import json, sys, torch
from core.nearest_kernel import tiled_cosines
from tests.core.test_neighbours_kernel import CASES, case
broken = torch.ones(1, 3, 4) / 2
broken[0, 1, 2] = torch.nan
inputs = [*(case(*parameters) for parameters in CASES), (broken, [torch.ones(2, 4) / 2])]
print(json.dumps([tiled_cosines(*each).tolist() for each in inputs]))
"""

CASES = (
    # pictures, tokens, channels, bank rows of each picture, dtype of the banks
    (1, 1, 1, (1,), "float32"),
    (1, 128, 64, (128,), "float32"),
    (2, 131, 70, (1, 300), "float32"),
    (3, 40, 33, (129, 1, 513), "float16"),
    (2, 200, 128, (5, 5), "float16"),
)
BOUNDS = {"float32": 1e-6, "float16": 2e-4}
"""Of a cosine, twice a distance (1e-4): float16 rounds the tokens, the fewer channels the more."""


def unit(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def case(pictures, tokens, channels, rows, dtype):
    banks = [unit(seed, count, channels).to(getattr(torch, dtype)) for seed, count in enumerate(rows)]
    if rows[0] == rows[-1] == 5:  # ties: every row of the bank twice, and one of the tokens among them
        banks = [torch.cat([bank, bank]) for bank in banks]
        return torch.cat([unit(7, pictures, tokens - 1, channels), banks[0][:1].expand(pictures, 1, -1)], 1), banks
    return unit(99, pictures, tokens, channels), banks


@pytest.fixture(scope="module")
def from_kernel() -> list[torch.Tensor]:
    """What the kernel says to each case, and to a NaN."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("no triton on this machine: torch's builds without CUDA come without it")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.tensor(values) for values in json.loads(done.stdout)]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_the_kernel_finds_what_its_plain_form_finds(from_kernel, index):
    tokens, banks = case(*CASES[index])
    plain = blocked_cosines(tokens.double(), [bank.double() for bank in banks])
    torch.testing.assert_close(from_kernel[index].double(), plain, atol=BOUNDS[CASES[index][4]], rtol=0)


def test_nan_tokens_stay_nan_in_the_kernel(from_kernel):
    assert from_kernel[len(CASES)].isnan().tolist() == [[False, True, False]]
