"""Products in 8-bit integers: near the exact ones, row by row; a tower that does not bear them is found out."""

from __future__ import annotations

import pytest
import torch

import core
from core.encoder import Encoder
from core.int8_products import Int8Product, multiplies_int8
from core.precision import NOISE, distance_noise, has_units, probe_picture
from core.quick_blocks import QuickBlock
from tests.pictures import weave

pytestmark = pytest.mark.skipif(
    not (has_units(torch.int8) and multiplies_int8()), reason="this processor has no units for 8-bit products"
)


@pytest.fixture
def product() -> tuple[Int8Product, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    weight, bias = torch.randn(48, 64), torch.randn(48)
    return Int8Product(weight, bias.bfloat16()), weight, bias


def test_a_product_is_within_two_per_cent_of_the_exact_one(product):
    int8, weight, bias = product
    x = torch.randn(2, 5, 64).bfloat16()
    exact = x.float() @ weight.T + bias
    assert float((int8(x).float() - exact).norm() / exact.norm()) < 0.02
    assert int8(x).dtype == torch.bfloat16


def test_a_row_is_the_same_alone_and_in_any_company(product):
    int8, _, _ = product
    rows = torch.randn(7, 64).bfloat16()
    together = int8(torch.cat([rows, 1000 * torch.randn(3, 64).bfloat16()]))
    for place, row in enumerate(rows):
        assert torch.equal(int8(row[None])[0], together[place])


@pytest.mark.parametrize("top", [1.0, 1.003, 126.0, 3e38, 1e-30])
def test_the_largest_values_of_a_row_never_wrap_round(top):
    x = torch.tensor([[top, -top, top / 2, 0.0]]).bfloat16()
    y = Int8Product(torch.eye(4), torch.zeros(4).bfloat16())(x)
    torch.testing.assert_close(y, x, rtol=0.02, atol=0.01 * top)


def test_zeros_give_the_bias_and_a_row_that_is_not_finite_spoils_only_itself(product):
    int8, _, bias = product
    x = torch.zeros(4, 64).bfloat16()
    x[1, 3], x[2, 5] = torch.nan, torch.inf
    y = int8(x)
    assert torch.equal(y[0], bias.bfloat16())
    assert torch.equal(y[3], bias.bfloat16())
    assert not y[1].isfinite().any()
    assert not y[2].isfinite().any()


def test_weights_of_nothing_but_zeros_are_no_error():
    y = Int8Product(torch.zeros(4, 8), torch.ones(4).bfloat16())(torch.randn(2, 8).bfloat16())
    assert torch.equal(y, torch.ones(2, 4).bfloat16())


def noise(plain: Encoder) -> dict[torch.dtype, float]:
    picture = [probe_picture(plain.image_size)]
    exact = plain.encode(picture)
    twins = {dtype: plain.in_precision(dtype) for dtype in (torch.bfloat16, torch.int8)}
    return {dtype: distance_noise(exact, twin.encode(picture)) for dtype, twin in twins.items()}


def test_a_tower_with_a_few_channels_far_larger_than_the_rest_is_refused_8_bits_by_the_bound(tiny_model):
    """What CLIPs are known for, and what rounding a whole row by its largest value cannot stand."""
    plain = core.load_encoder(
        str(tiny_model.config), weights=tiny_model.weights, device="cpu", precision="float32"
    )
    before = noise(plain)
    for block in plain.tower.transformer.resblocks:
        block.ln_1.weight.data[3] *= 100
        block.ln_2.weight.data[7] *= 100
    after = noise(plain)
    assert after[torch.int8] > NOISE
    assert after[torch.int8] > 2 * before[torch.int8]


def test_an_encoder_in_int8_scores_near_float32_and_says_what_it_is(tiny_model):
    load = lambda name: core.load_encoder(  # noqa: E731
        str(tiny_model.config), weights=tiny_model.weights, device="cpu", precision=name
    )
    plain, int8 = load("float32"), load("int8")
    assert (int8.precision, int8.dtype, int8.id) == ("int8", torch.bfloat16, plain.id)
    assert isinstance(int8.tower.transformer.resblocks[0], QuickBlock)
    pictures = [weave(0), weave(1)]
    exact, near, alone = plain.encode(pictures), int8.encode(pictures), int8.encode(pictures[1:])
    for one, other, single in zip(exact.stages, near.stages, alone.stages, strict=True):
        assert float(torch.cosine_similarity(one, other.float(), dim=-1).min()) > 0.99
        torch.testing.assert_close(other[1:].float(), single.float(), atol=1e-2, rtol=0)
