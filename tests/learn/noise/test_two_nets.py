"""What two networks share: ranks, what is known of labels, views, and which one ships."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medvit.data.augment.surface import SurfaceViews, ViewSettings
from medvit.data.surface import LabelledViews
from medvit.learn.noise.two_nets import (
    NoisyLabels,
    Pair,
    PlacedViews,
    TwoNets,
    better_net,
    by_joint,
    evenly_wrong,
    losses_of_all,
    rank_in_class,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 20), dtype=np.uint8)
LABELS = torch.tensor([0, 1, 0, 1, 1, 0])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40))
def test_ranks_are_those_of_a_loop(rows: list[tuple[int, int]]) -> None:
    labels = torch.tensor([label for label, _ in rows])
    losses = torch.tensor([float(loss) for _, loss in rows])
    expected = [
        sum((rows[j][1], j) < (loss, i) for j in range(len(rows)) if rows[j][0] == label)
        for i, (label, loss) in enumerate(rows)
    ]
    assert rank_in_class(losses, labels).tolist() == expected


def test_a_joint_says_what_is_wrong_of_each_class_and_small_classes_are_doubted() -> None:
    labels = torch.tensor([0] * 80 + [1] * 20)
    joint = np.array([[0.76, 0.04], [0.12, 0.08]])  # of 20 called 1, 12 are 0
    found = by_joint(labels, joint)
    assert found.rate == pytest.approx(0.16)
    expected = [(80 * 0.05 + 5 * 0.16) / 85, (20 * 0.6 + 5 * 0.16) / 25]
    torch.testing.assert_close(found.wrong_shares, torch.tensor(expected))
    torch.testing.assert_close(found.prior, torch.tensor([0.88, 0.12]))
    even = evenly_wrong(labels, classes=2, rate=0.3)
    assert even.wrong_shares.tolist() == pytest.approx([0.3, 0.3])
    assert even.prior.tolist() == pytest.approx([0.8, 0.2])


def test_shares_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"as many classes, got \[2, 3, 2\]"):
        NoisyLabels(LABELS, 0.1, torch.zeros(2), torch.ones(3), torch.zeros(2))


def test_the_first_view_is_that_of_a_plain_training_and_places_are_told() -> None:
    views = SurfaceViews(ViewSettings(side_px=16))
    plain = LabelledViews(IMAGES, LABELS, views=views, seed=3)
    placed = PlacedViews(IMAGES, LABELS, views=views, seed=3, count=2)
    first, second, label, place = placed[7, 4]
    assert torch.equal(first, plain[7, 4][0])
    assert not torch.equal(first, second)
    assert (int(label), int(place)) == (1, 4)


def net(bias: float) -> nn.Module:
    layer = nn.Linear(400, 2)
    nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor([0.0, bias])
    return nn.Sequential(nn.Flatten(), layer)


def test_losses_of_all_are_those_of_shifted_logits() -> None:
    known = evenly_wrong(LABELS, classes=2, rate=0.1)
    shifted = NoisyLabels(LABELS, 0.1, known.wrong_shares, known.prior, torch.tensor([0.0, 1.0]))
    found = losses_of_all(TwoNets(Pair((net(0.0), net(2.0))), shifted), IMAGES)
    for row, bias in zip(found, (1.0, 3.0), strict=True):
        wrong, right = math.log(1 + math.exp(bias)), math.log(1 + math.exp(-bias))
        expected = [wrong if label == 0 else right for label in LABELS]
        torch.testing.assert_close(row, torch.tensor(expected))


def test_the_network_with_the_lower_loss_ships_and_the_first_of_equal_ones() -> None:
    ones = torch.ones(6, dtype=torch.int64)
    assert better_net(Pair((net(0.0), net(3.0))), IMAGES, ones)[0] == 1
    assert better_net(Pair((net(3.0), net(0.0))), IMAGES, ones)[0] == 0
    assert better_net(Pair((net(3.0), net(3.0))), IMAGES, ones)[0] == 0
    assert better_net(Pair((net(0.0), net(3.0))), IMAGES[:0], ones[:0])[0] == 0
