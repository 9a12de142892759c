"""Weights of classes, by hand."""

from __future__ import annotations

import pytest
import torch

from medvit.learn.longtail.class_weights import (
    effective_number_weights,
    inverse_frequency_weights,
)

COUNTS = torch.tensor([1000.0, 100.0, 10.0])


def test_effective_numbers_are_those_of_the_paper() -> None:
    weights = effective_number_weights(COUNTS, beta=0.9999)
    numbers = torch.tensor([951.7, 99.5, 10.0])  # METHODS: E_n at beta .9999
    expected = 3 / numbers / (1 / numbers).sum()
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=0)


def test_by_default_the_largest_class_sets_beta() -> None:
    torch.testing.assert_close(
        effective_number_weights(COUNTS), effective_number_weights(COUNTS, beta=0.999)
    )


def test_inverse_frequency_gives_every_class_the_same_sum() -> None:
    weights = inverse_frequency_weights(COUNTS)
    torch.testing.assert_close(weights * COUNTS, torch.full((3,), float((weights * COUNTS)[0])))
    assert float(weights.sum()) == pytest.approx(3)


@pytest.mark.parametrize("beta", [1.0, -0.1])
def test_a_beta_out_of_range_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match=rf"got {beta}"):
        effective_number_weights(COUNTS, beta=beta)
