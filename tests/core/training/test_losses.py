"""Focal and dice: parity with the statement in float64, and what they must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.training.losses import dice, focal, stage_loss
from tests.core.oracle.loss_numpy import dice_loss, focal_loss


@pytest.fixture
def maps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Abnormal probabilities (3, 12, 12), certain ones among them, and masks of which the first is empty."""
    p = rng.random((3, 12, 12))
    p[:, 0, :3], p[:, 0, 3:6] = 0.0, 1.0
    mask = rng.random((3, 12, 12)) < np.array([0.0, 0.2, 0.9])[:, None, None]
    return p, mask


def test_both_losses_are_the_papers_in_float64(maps: tuple[np.ndarray, np.ndarray]) -> None:
    p, mask = maps
    two_channels = np.stack([1 - p, p], axis=1)
    ours = torch.from_numpy(p), torch.from_numpy(mask)
    assert float(focal(*ours)) == pytest.approx(focal_loss(two_channels, mask), rel=1e-12)
    assert float(dice(*ours)) == pytest.approx(dice_loss(p, mask), rel=1e-12)


def test_a_stage_is_charged_focal_plus_dice_in_float32_too(maps: tuple[np.ndarray, np.ndarray]) -> None:
    p, mask = maps
    expected = focal_loss(np.stack([1 - p, p], axis=1), mask) + dice_loss(p, mask)
    ours = stage_loss(torch.from_numpy(p).float(), torch.from_numpy(mask))
    assert ours.dtype == torch.float32
    assert float(ours) == pytest.approx(expected, rel=1e-5)


def test_a_certain_map_has_a_finite_gradient_and_the_right_one_costs_nothing() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, 2:5, 2:5] = True
    wrong = (~mask).float().requires_grad_()
    loss = stage_loss(wrong, mask)
    loss.backward()
    assert bool(wrong.grad.isfinite().all())
    assert float(loss.detach()) > 5
    assert float(stage_loss(mask.float(), mask)) == pytest.approx(0.0, abs=1e-4)


def test_an_empty_mask_pulls_the_map_down() -> None:
    p = torch.full((2, 8, 8), 0.3, requires_grad=True)
    stage_loss(p, torch.zeros(2, 8, 8, dtype=torch.bool)).backward()
    assert bool((p.grad > 0).all())
