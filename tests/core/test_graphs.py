"""Batches in buckets: the same results as without, whatever the size. The graphs themselves take a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from core.graphs import Bucketed, padded
from tests.pictures import weave


def twice_and_sum(seen: list[int]):
    def forward(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(batch.shape[0])
        return 2 * batch, batch.sum(dim=1)

    return forward


@pytest.mark.parametrize(
    ("rows", "computed"), [(1, [1]), (2, [2]), (3, [4]), (4, [4]), (5, [4, 1]), (7, [4, 4]), (9, [4, 4, 1])]
)
def test_a_batch_is_padded_to_its_bucket_and_a_larger_one_goes_in_pieces(rows, computed):
    seen: list[int] = []
    run = Bucketed(twice_and_sum(seen), buckets=(4, 1, 2), capture=False)
    batch = torch.randn(rows, 3)
    double, total = run(batch)
    assert seen == computed
    torch.testing.assert_close(double, 2 * batch)
    torch.testing.assert_close(total, batch.sum(dim=1))


def test_padding_repeats_a_picture_so_that_nothing_new_is_computed():
    batch = torch.tensor([[1.0], [2.0]])
    assert padded(batch, 4).tolist() == [[1.0], [2.0], [2.0], [2.0]]
    assert padded(batch, 2) is batch


@pytest.mark.parametrize("buckets", [(), (0, 1)])
def test_buckets_of_no_row_are_refused(buckets):
    with pytest.raises(ValueError, match="one row or more"):
        Bucketed(twice_and_sum([]), buckets=buckets, capture=False)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_an_encoder_tells_the_same_of_a_picture_in_every_bucket(tiny_scorer, count):
    encoder = tiny_scorer.encoder
    pixels = encoder.preprocess([weave(seed) for seed in range(count)])
    run = Bucketed(torch.inference_mode()(encoder._maps), buckets=(2, 4), capture=False)
    for ours, plain in zip(run(pixels), encoder._maps(pixels), strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs take a GPU, and this machine has none")
def test_a_replayed_graph_gives_what_the_function_gives_and_keeps_earlier_results():
    run = Bucketed(torch.inference_mode()(lambda batch: (2 * batch,)), buckets=(2, 4), capture=True)
    with torch.inference_mode():
        batches = [torch.randn(rows, 8, device="cuda") for rows in (1, 2, 3, 4, 7)]
        results = [run(batch)[0] for batch in batches]
        for batch, result in zip(batches, results, strict=True):
            torch.testing.assert_close(result, 2 * batch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs take a GPU, and this machine has none")
def test_threads_that_replay_one_graph_side_by_side_each_get_their_own_results():
    run = Bucketed(torch.inference_mode()(lambda batch: (2 * batch,)), buckets=(4,), capture=True)

    def all_of(seed: int) -> bool:
        with torch.inference_mode():
            batches = [torch.full((4, 4096), float(100 * seed + step), device="cuda") for step in range(50)]
            return all(bool((run(batch)[0] == 2 * batch).all()) for batch in batches)

    with ThreadPoolExecutor(4) as lanes:
        assert all(lanes.map(all_of, range(4)))
