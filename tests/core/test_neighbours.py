"""Matching, thinning and maps against their plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.anomaly_map import sum_of_stages, upsample
from core.bank import stage_tokens
from core.coreset import k_centre
from core.neighbours import BLOCK_ROWS, nearest_distance, nearest_distances
from core.score_rule import ScoreRule, bank_statistics, top_mean


def unit(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.mark.parametrize("rows", [1, 7, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 5])
def test_the_blocked_search_equals_the_whole_matrix(rows: int):
    tokens, bank = unit(0, 33, 24), unit(1, rows, 24)
    whole = ((1 - tokens.double() @ bank.double().T) / 2).amin(dim=1)
    torch.testing.assert_close(nearest_distance(tokens, bank).double(), whole, atol=1e-6, rtol=0)


def test_pictures_of_several_products_in_one_call_find_what_each_finds_alone():
    tokens = unit(3, 5, 40, 24)
    banks = [unit(seed, rows, 24) for seed, rows in enumerate((1, BLOCK_ROWS + 3, 60))]
    mine = [banks[index] for index in (0, 1, 2, 1, 0)]
    together = nearest_distances(tokens, mine)
    alone = torch.stack([nearest_distance(*pair) for pair in zip(tokens, mine, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_a_nan_token_has_a_nan_distance_and_no_other_has():
    tokens = unit(4, BLOCK_ROWS + 2, 8)
    tokens[1, 3] = torch.nan
    assert nearest_distance(tokens, unit(5, 20, 8)).isnan().nonzero().tolist() == [[1]]


def test_float64_stays_float64_and_a_bank_a_picture_is_expected():
    tokens = unit(6, 2, 3, 8).double()
    assert nearest_distances(tokens, [tokens[0], tokens[0]]).dtype == torch.float64
    with pytest.raises(ValueError, match="one bank a picture, got 1 banks for 2"):
        nearest_distances(tokens, [tokens[0]])


def test_a_token_of_the_bank_lies_at_distance_zero_and_its_opposite_at_one():
    bank = unit(2, 1, 16)
    torch.testing.assert_close(nearest_distance(bank, bank), torch.zeros(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(nearest_distance(-bank, bank), torch.ones(1), atol=1e-6, rtol=0)


@settings(max_examples=20)
@given(st.integers(2, 60), st.integers(1, 60))
def test_the_coreset_is_within_budget_distinct_and_covers_no_worse_than_twice_the_best_by_chance(count, budget):
    tokens = unit(count, count, 8)
    keep = k_centre(tokens, budget)
    assert len(keep) == min(budget, count) == len(set(keep.tolist()))

    def radius(rows: torch.Tensor) -> float:
        return float(torch.cdist(tokens, tokens[rows]).amin(dim=1).max())

    drawn = [torch.randperm(count, generator=torch.Generator().manual_seed(s))[:budget] for s in range(5)]
    assert radius(keep) <= 2 * min(radius(rows) for rows in drawn) + 1e-5


def test_upsampling_aligns_the_corners():
    grid = torch.arange(4.0).reshape(1, 2, 2)
    large = upsample(grid, 5)[0]
    assert [large[0, 0], large[0, 4], large[4, 0], large[4, 4]] == [0.0, 1.0, 2.0, 3.0]
    assert large[0, 2] == 0.5


def test_the_map_is_the_sum_of_the_stages_not_their_mean():
    constant = [torch.full((1, 4, 4), 0.25), torch.full((1, 2, 2), 0.5)]
    torch.testing.assert_close(sum_of_stages(constant, 8), torch.full((1, 8, 8), 0.75))


def test_neighbourhood_averages_only_the_neighbours_a_token_has():
    tokens = torch.ones(1, 9, 2)
    tokens[0, 4, 1] = 10.0
    plain = stage_tokens(tokens, (3, 3), 1)
    averaged = stage_tokens(tokens, (3, 3), 3)
    torch.testing.assert_close(plain.norm(dim=-1), torch.ones(1, 9))
    expected_corner = torch.nn.functional.normalize(torch.tensor([1.0, (3 + 10) / 4]), dim=0)
    torch.testing.assert_close(averaged[0, 0], expected_corner)


def test_statistics_of_a_map_are_its_largest_its_top_percent_and_its_mean():
    grid = torch.arange(400.0).reshape(1, 20, 20)
    values = bank_statistics(7, grid, torch.tensor([0.5]))
    top = (399 + 398 + 397 + 396) / 4
    assert {name: float(value) for name, value in values.items()} == {
        "bank.7.max": 399.0,
        "bank.7.top1": top,
        "bank.7.mean": 199.5,
        "bank.7.pool": 0.5,
    }
    assert float(top_mean(torch.ones(1, 2, 2))) == 1.0


def statistics(**values: list[float]) -> dict[str, torch.Tensor]:
    return {name.replace("_", "."): torch.tensor(value) for name, value in values.items()}


GOOD = statistics(a_max=[1.0, 3.0, 1.0, 3.0], b_pool=[10.0, 30.0, 10.0, 30.0], text_logit=[-2.0, 2.0, -2.0, 2.0])


def test_the_rule_standardises_by_good_samples_and_takes_the_largest():
    rule = ScoreRule.fit(["a.max", "b.pool"], GOOD)
    spread = float(GOOD["b.pool"].std())
    scores = rule.score(statistics(a_max=[2.0, 2.0], b_pool=[20.0, 20.0 + spread]))
    assert scores.tolist() == pytest.approx([0.0, 1.0])


def test_words_are_a_hint_beside_a_bank_and_the_whole_score_without_one():
    part = statistics(a_max=[2.0], b_pool=[20.0], text_logit=[float(GOOD["text.logit"].std())])
    beside = ScoreRule.fit(["a.max", "b.pool", "text.logit"], GOOD)
    alone = ScoreRule.fit(["text.logit"], GOOD)
    assert beside.score(part)[0] == pytest.approx(0.1)
    assert alone.score(part)[0] == pytest.approx(1.0)


def test_few_samples_that_agree_by_luck_do_not_make_a_tiny_spread():
    lucky = statistics(a_max=[1.0, 1.0001])
    assert ScoreRule.fit(["a.max"], lucky).spread[0] == pytest.approx(0.05, rel=1e-3)


def test_a_nan_statistic_gives_a_nan_score_which_no_threshold_can_accept():
    rule = ScoreRule(statistics=("a.max", "b.pool"), centre=(0.0, 0.0), spread=(1.0, 1.0))
    assert np.isnan(rule.score(statistics(a_max=[1.0], b_pool=[float("nan")]))[0])
