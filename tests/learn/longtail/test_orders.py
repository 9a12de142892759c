"""How often each class is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medvit.learn.longtail.orders import ClassOrder, SamplerName

LABELS = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)


@pytest.mark.parametrize(
    ("name", "epoch", "chances"),
    [
        ("balanced", 0, [1 / 3, 1 / 3, 1 / 3]),
        ("square_root", 0, [30 / 42.649, 9.487 / 42.649, 3.162 / 42.649]),
        ("progressive", 0, [0.9, 0.09, 0.01]),
        ("progressive", 5, [0.61667, 0.21167, 0.17167]),
        ("progressive", 10, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_classes_come_as_often_as_the_name_says(
    name: SamplerName, epoch: int, chances: list[float]
) -> None:
    order = ClassOrder(LABELS, name=name, epochs=11, seed=0)
    order.set_epoch(epoch)
    np.testing.assert_allclose(order.chances, chances, atol=2e-4)
    drawn = LABELS[[index for _, index in order]]
    counts = torch.bincount(drawn, minlength=3).double()
    expected = 1000 * torch.tensor(chances, dtype=torch.float64)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 9.21  # the 99 % point for two degrees of freedom


def test_draws_differ_by_epoch_and_repeat_by_seed() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    order, again = ClassOrder(labels, seed=4), ClassOrder(labels, seed=4)
    first = list(order)
    assert list(again) == first
    order.set_epoch(1)
    assert [i for _, i in order] != [i for _, i in first]


def test_no_order_is_no_class_order() -> None:
    with pytest.raises(ValueError, match="no class order"):
        ClassOrder(LABELS, name="none", seed=0)
