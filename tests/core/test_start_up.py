"""A start costs what it needs: no library that it does without, no random weight that loading overwrites."""

from __future__ import annotations

import subprocess
import sys

import open_clip
import pytest
import torch
from torch import nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

import core
from core.undrawn import DRAWS, Undrawn
from tests.tiny import TINY_CONFIG

UNNEEDED = ("open_clip", "timm", "torchvision", "torch._dynamo", "sympy", "huggingface_hub", "sklearn", "jinja2")


def printed_by(program: str) -> str:
    """What a fresh interpreter prints that runs it."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_scoring_with_banks_of_lite_needs_torch_and_none_of_the_model_libraries():
    program = (
        "import sys, numpy, core, core.enrolment\n"
        "scorer = core.load_scorer('lite', device='cpu', image_size=64)\n"
        "scorer.encode([numpy.zeros((64, 64, 3), numpy.uint8)])\n"
        f"print([name for name in {UNNEEDED!r} if name in sys.modules])"
    )
    assert printed_by(program) == "[]"


@pytest.mark.parametrize(
    ("preset", "method", "takes"),
    [("lite", None, False), ("lite", "bank", False), ("lite", "april-gan", True), ("april-gan", None, True)],
)
def test_who_takes_a_whole_clip_is_known_without_torch(preset, method, takes):
    program = (
        "import sys; from core.presets import takes_a_clip\n"
        f"print(takes_a_clip({preset!r}, {method!r}), 'torch' in sys.modules)"
    )
    assert printed_by(program).split() == [str(takes), "False"]


def test_a_standby_of_lite_imports_what_scoring_with_it_imports_and_no_more():
    program = (
        "import sys; from daemon.worker import import_ahead\n"
        "import_ahead(clip=False); ahead = set(sys.modules)\n"
        "import core; core.load_scorer('lite', device='cpu', image_size=64)\n"
        f"print([name for name in {UNNEEDED!r} if name in ahead], 'core.lite_tower' in ahead, 'torch' in ahead)"
    )
    assert printed_by(program) == "[] True True"


class Seen(TorchFunctionMode):
    """Notes which functions come through to torch."""

    def __init__(self) -> None:
        self.functions: set[object] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.functions.add(func)
        return func(*args, **(kwargs or {}))


def test_building_an_encoder_draws_no_weights(tiny_model):
    with Seen() as seen:
        core.load_encoder(str(tiny_model.config), weights=tiny_model.weights, device="cpu")
        core.load_encoder("lite", device="cpu", image_size=64)
    assert torch.Tensor.zero_ in seen.functions
    assert not seen.functions & DRAWS


def test_what_is_no_weight_is_computed_as_ever():
    with Undrawn():
        undrawn = open_clip.CLIP(**TINY_CONFIG)
    drawn = open_clip.CLIP(**TINY_CONFIG)
    kept = set(undrawn.state_dict())
    ours, theirs = (
        {name: buffer for name, buffer in model.named_buffers() if name not in kept} for model in (undrawn, drawn)
    )
    assert ours.keys() == theirs.keys() == {"attn_mask"}
    assert torch.equal(ours["attn_mask"], theirs["attn_mask"])
    assert torch.equal(undrawn.ln_final.weight, drawn.ln_final.weight)


@pytest.mark.parametrize(
    "draw", [init.trunc_normal_, init.kaiming_uniform_, init.xavier_uniform_, nn.init.normal_]
)
def test_every_way_of_drawing_leaves_zeros(draw):
    with Undrawn():
        assert not draw(torch.ones(3, 3)).any()
    assert draw(torch.ones(3, 3)).any()
