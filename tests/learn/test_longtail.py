"""Corrections for classes of unequal size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail import AdjustedLoss, BalancedOrder, build_loss

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 2, 0, 0])
COUNTS = torch.tensor([100.0, 10.0, 1.0])


def test_logit_adjustment_is_balanced_softmax_up_to_a_constant() -> None:
    balanced = F.cross_entropy(LOGITS + COUNTS.log(), TARGETS)
    torch.testing.assert_close(build_loss("logit_adjustment", COUNTS)(LOGITS, TARGETS), balanced)


def test_equal_counts_reduce_it_to_cross_entropy() -> None:
    loss = build_loss("logit_adjustment", torch.full((3,), 7.0))
    torch.testing.assert_close(loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


def test_cross_entropy_ignores_the_counts() -> None:
    loss = build_loss("cross_entropy", COUNTS)
    torch.testing.assert_close(loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


def test_soft_targets_that_are_certain_equal_hard_ones() -> None:
    loss = build_loss("logit_adjustment", COUNTS, label_smoothing=0.1)
    soft = F.one_hot(TARGETS, 3).float()
    torch.testing.assert_close(loss(LOGITS, soft), loss(LOGITS, TARGETS))


@pytest.mark.parametrize("counts", [[5.0, 0.0], [5.0]])
def test_a_class_without_images_is_refused_with_the_counts(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="got counts") as caught:
        AdjustedLoss(torch.tensor(counts), tau=1.0)
    assert str(counts) in str(caught.value)


def test_balanced_draws_show_each_class_equally_often() -> None:
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    drawn = labels[[index for _, index in BalancedOrder(labels, seed=0)]]
    counts = torch.bincount(drawn, minlength=3).double()
    chi_square = float(((counts - 1000 / 3) ** 2 / (1000 / 3)).sum())
    assert chi_square < 9.21  # the 99 % point for two degrees of freedom


def test_balanced_draws_differ_by_epoch_and_repeat_by_seed() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    order, again = BalancedOrder(labels, seed=4), BalancedOrder(labels, seed=4)
    first = list(order)
    assert list(again) == first
    order.set_epoch(1)
    assert [i for _, i in order] != [i for _, i in first]
