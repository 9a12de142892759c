"""Objective, prediction and temperature of a classifier."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from medvit.learn.classify import ClassifyObjective, FeatureReader, fit_temperature, predict_logits
from medvit.models.builders import defect_classifier


def honest_logits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and labels drawn from the softmax of these very logits."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, 4, generator=generator)
    return logits, torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()


@pytest.mark.parametrize("factor", [1.0, 3.0, 0.5])
def test_a_scale_of_the_logits_is_undone(factor: float) -> None:
    logits, labels = honest_logits(20_000)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.03)


def test_images_that_are_all_right_give_a_bounded_temperature() -> None:
    temperature = fit_temperature(torch.eye(4) * 5, torch.arange(4))
    assert math.exp(-4) <= temperature <= 1.0


def test_prediction_does_not_depend_on_the_batch_size() -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4), dtype=np.uint8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout(0.5))
    torch.testing.assert_close(
        predict_logits(net, images, batch_size=2), predict_logits(net, images, batch_size=5)
    )


def test_predicting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        predict_logits(nn.Linear(1, 1), np.empty((0, 4, 4), dtype=np.uint8))


def test_a_reader_reads_images_once_and_follows_the_head() -> None:
    torch.manual_seed(0)
    net = defect_classifier(backbone="vit_tiny_stem", classes=3).eval()
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32), dtype=np.uint8)
    passes = list[int]()
    net.backbone.register_forward_hook(lambda _net, x, _y: passes.append(len(x[0])))
    reader = FeatureReader(net)
    torch.testing.assert_close(reader.logits(images), net.head(reader.features(images)))
    net.head = nn.Linear(net.backbone.out_channels, 2)
    found = reader.logits(images)
    assert passes == [3]
    torch.testing.assert_close(found, predict_logits(net, images))
    assert reader.features(images[:2].copy()).shape == (2, net.backbone.out_channels)


def test_the_objective_is_the_loss_of_the_net() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    objective = ClassifyObjective(net, loss=nn.CrossEntropyLoss())
    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 1])
    torch.testing.assert_close(objective((x, y)), nn.functional.cross_entropy(net(x), y))
