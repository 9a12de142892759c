"""Features of texture by hand, and labels that flow along neighbours and no further."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medvit.learn.pretraining.readout import texture_features
from medvit.learn.pretraining.spread_labels import neighbour_weights, spread_labels
from medvit.learn.pretraining.watch import as_batch
from medvit.models.cnn import Cnn


def two_rings() -> torch.Tensor:
    """Return two bunches of 20 directions, each along an arc of its own."""
    angles = torch.linspace(0, 1, 20)
    first = torch.stack([angles.cos(), angles.sin(), torch.zeros(20)], dim=1)
    second = torch.stack([torch.zeros(20), -angles.cos(), angles.sin() + 1], dim=1)
    return torch.cat([first, second])


def test_one_label_a_class_reaches_the_far_end_of_its_arc() -> None:
    places, labels = torch.tensor([0, 39]), torch.tensor([0, 1])
    found = spread_labels(two_rings(), places, labels, classes=2)
    assert found.tolist() == [0] * 20 + [1] * 20


def test_what_was_labelled_keeps_its_label() -> None:
    places, labels = torch.tensor([0, 5, 39]), torch.tensor([0, 1, 1])
    assert spread_labels(two_rings(), places, labels, classes=2)[5] == 1


def test_weights_are_symmetric_and_shrink_whatever_flows() -> None:
    weights = neighbour_weights(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(weights, weights.T)
    assert float(torch.linalg.eigvalsh(weights).abs().max()) == pytest.approx(1)
    assert (weights.diagonal() == 0).all()


def test_a_class_without_a_label_is_named() -> None:
    with pytest.raises(ValueError, match="none of class 1 is given"):
        spread_labels(torch.eye(4), torch.tensor([0, 1]), torch.tensor([0, 2]), classes=3)


def test_features_are_mean_and_spread_of_all_maps_over_mirrors() -> None:
    torch.manual_seed(0)
    net = Cnn((4, 8), blocks=1).train()
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    found = texture_features(net, images, side_px=32)
    assert net.training
    assert found.shape == (2, 24)
    expected = torch.zeros(2, 24)
    with torch.no_grad():
        for axes in ((), (2,), (3,), (2, 3)):
            maps = net.eval().maps(as_batch(images, side_px=32).flip(axes))
            means = [grid.flatten(2).mean(2) for grid in maps]
            spreads = [grid.flatten(2).var(2, correction=0).sqrt() for grid in maps]
            expected += torch.cat([*means, *spreads], dim=1) / 4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    mirrored = texture_features(net, images[:, ::-1].copy(), side_px=32)
    torch.testing.assert_close(found, mirrored, atol=1e-5, rtol=1e-4)
