"""Losses for classes of unequal size, each against a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.learn.longtail.losses import (
    AdjustedLoss,
    FocalLoss,
    LossName,
    adjust_after_training,
    adjust_bias,
    build_loss,
)

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 2, 0, 0])
COUNTS = torch.tensor([100.0, 10.0, 1.0])
SHIFTING: tuple[LossName, ...] = ("cross_entropy", "balanced_softmax", "logit_adjustment")


@pytest.mark.parametrize("name", ["logit_adjustment", "balanced_softmax"])
def test_both_names_are_cross_entropy_of_logits_and_log_counts(name: LossName) -> None:
    expected = F.cross_entropy(LOGITS + COUNTS.log(), TARGETS)
    torch.testing.assert_close(build_loss(name, COUNTS)(LOGITS, TARGETS), expected)


@pytest.mark.parametrize("name", SHIFTING)
def test_equal_counts_reduce_them_to_cross_entropy(name: LossName) -> None:
    loss = build_loss(name, torch.full((3,), 7.0))
    torch.testing.assert_close(loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


def test_cross_entropy_ignores_the_counts() -> None:
    loss = build_loss("cross_entropy", COUNTS)
    torch.testing.assert_close(loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS))


@pytest.mark.parametrize("name", [*SHIFTING, "focal", "class_balanced"])
def test_soft_targets_that_are_certain_equal_hard_ones(name: LossName) -> None:
    loss = build_loss(name, COUNTS)
    soft = F.one_hot(TARGETS, 3).float()
    torch.testing.assert_close(loss(LOGITS, soft), loss(LOGITS, TARGETS))


@pytest.mark.parametrize("counts", [[5.0, 0.0], [5.0]])
def test_a_class_without_images_is_refused_with_the_counts(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="got counts") as caught:
        AdjustedLoss(torch.tensor(counts), tau=1.0)
    assert str(counts) in str(caught.value)


def test_focal_loss_is_the_mean_that_a_loop_gives() -> None:
    weights = torch.tensor([0.5, 1.0, 2.0])
    total, counted = 0.0, 0.0
    for row, target in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True):
        p = math.exp(row[target]) / sum(math.exp(v) for v in row)
        weight = weights[target].item()
        total += weight * (1 - p) ** 2 * -math.log(p)
        counted += weight
    found = FocalLoss(weights, gamma=2.0)(LOGITS, TARGETS)
    assert float(found) == pytest.approx(total / counted, rel=1e-6)


def test_focal_loss_without_focus_is_weighted_cross_entropy() -> None:
    weights = torch.tensor([0.5, 1.0, 2.0])
    expected = F.cross_entropy(LOGITS, TARGETS, weight=weights)
    torch.testing.assert_close(FocalLoss(weights, gamma=0.0)(LOGITS, TARGETS), expected)


def _balanced_accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    guess = net(x).argmax(1)
    return float(
        torch.stack([(guess[y == k] == k).float().mean() for k in range(int(y.max()) + 1)]).mean()
    )


def _overlapping_classes(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Draw classes whose means lie on a circle of noise: no classifier is perfect."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    angle = 2 * math.pi * y / len(counts)
    x = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return x + torch.randn(len(y), 2, generator=rng), y


def test_logit_adjustment_beats_cross_entropy_on_a_long_tail() -> None:
    counts = [1000, 400, 160, 60, 20]
    x, y = _overlapping_classes(counts, 0)
    x_test, y_test = _overlapping_classes([2000] * 5, 1)
    found = {}
    for name in ("cross_entropy", "logit_adjustment"):
        torch.manual_seed(0)
        net = nn.Linear(2, 5)
        loss = build_loss(name, torch.tensor(counts, dtype=torch.float32))
        optimiser = torch.optim.LBFGS(net.parameters(), max_iter=60)

        def closure(net: nn.Module = net, loss: nn.Module = loss) -> Tensor:
            net.zero_grad()
            value: Tensor = loss(net(x), y)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            found[name] = _balanced_accuracy(net, x_test, y_test)
            if name == "cross_entropy":
                shifted = adjust_after_training(net(x_test), torch.tensor(counts).float())
                found["after"] = _balanced_accuracy(nn.Identity(), shifted, y_test)
    assert found["logit_adjustment"] > found["cross_entropy"] + 0.1
    assert found["after"] > found["cross_entropy"] + 0.1


def test_a_head_corrected_after_training_gives_corrected_logits() -> None:
    head = nn.Linear(4, 3)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    expected = adjust_after_training(head(x), COUNTS, tau=0.7).detach()
    adjust_bias(head, COUNTS, tau=0.7)
    torch.testing.assert_close(head(x).detach(), expected)
    with pytest.raises(ValueError, match="a bias of 3 classes is needed, got Identity"):
        adjust_bias(nn.Identity(), COUNTS)
