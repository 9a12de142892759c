"""Deletion and insertion: by hand, and against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from medvit.explain.faithfulness import Faithfulness, curves, measure_faithfulness, order_of


def mean_of_corner(images: Tensor) -> Tensor:
    """Return the mean of the upper left quarter."""
    return images[:, 0, :8, :8].mean(dim=(1, 2))


def corner_map() -> Tensor:
    heat = torch.zeros(16, 16)
    heat[:8, :8] = 1
    return heat


def test_the_map_of_what_counts_loses_all_at_once_and_gains_all_at_once() -> None:
    image, filler = torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    rng = np.random.default_rng(0)
    found = measure_faithfulness(
        mean_of_corner, image, corner_map(), filler=filler, steps=4, rng=rng
    )
    # A quarter of the image is a quarter of the steps: the first one takes it all.
    assert found.deletion == (1.0, 0.0, 0.0, 0.0, 0.0)
    assert found.insertion == (0.0, 1.0, 1.0, 1.0, 1.0)
    assert found.deletion_auc == pytest.approx(0.125)
    assert found.insertion_auc == pytest.approx(0.875)
    assert found.beaten == 1.0
    assert found.gain > 0.3
    assert len(found.random_deletion) == 8


def test_the_opposite_map_is_worse_than_chance() -> None:
    image, filler = torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    rng = np.random.default_rng(0)
    found = measure_faithfulness(
        mean_of_corner, image, 1 - corner_map(), filler=filler, steps=4, rng=rng
    )
    assert found.deletion == (1.0, 1.0, 1.0, 1.0, 0.0)
    assert found.beaten == 0.0
    assert found.gain < -0.3


def test_curves_are_those_of_a_slow_loop_in_three_dimensions() -> None:
    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.random((1, 2, 3, 4, 5)))
    filler = torch.from_numpy(rng.random((1, 2, 3, 4, 5)))
    order = rng.permutation(60)

    def score(boxes: Tensor) -> Tensor:
        return boxes.flatten(1).square().sum(dim=1)

    deletion, insertion = curves(score, image, order, filler=filler, steps=6)
    for step in range(7):
        gone, come = image.clone().view(2, 60), filler.clone().view(2, 60)
        for place in order[: 10 * step]:
            gone[:, place] = filler.view(2, 60)[:, place]
            come[:, place] = image.view(2, 60)[:, place]
        assert deletion[step] == pytest.approx(float(gone.square().sum()))
        assert insertion[step] == pytest.approx(float(come.square().sum()))


def test_equal_places_come_in_no_order_of_their_own() -> None:
    order = order_of(np.zeros((50, 50)), np.random.default_rng(0))
    assert sorted(order) == list(range(2500))
    assert abs(np.corrcoef(order, np.arange(2500))[0, 1]) < 0.1


def test_chance_has_no_gain() -> None:
    equal = Faithfulness((1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.5, 0.5))
    assert equal.gain == 0.0
    assert equal.beaten == 0.0


def test_a_map_of_another_size_is_refused() -> None:
    image = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"map \(3, 4\) .* must fit the image \(1, 1, 4, 4\)"):
        measure_faithfulness(
            mean_of_corner, image, torch.zeros(3, 4), filler=image, rng=np.random.default_rng(0)
        )
