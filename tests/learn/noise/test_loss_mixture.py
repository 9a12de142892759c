"""Right and wrong labels by their losses."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.learn.noise.loss_mixture import clean_probabilities

RNG = np.random.default_rng(0)
LOW, HIGH = RNG.normal(0.3, 0.1, 800).clip(0), RNG.normal(3, 0.6, 200)


def test_two_bumps_are_told_apart() -> None:
    found = clean_probabilities(np.concatenate([LOW, HIGH]))
    assert found is not None
    assert float(found[:800].min()) > 0.9
    assert float((found[800:] < 0.1).mean()) > 0.98
    ranks = found.argsort().argsort()
    wrong, right = ranks[800:], ranks[:800]
    assert float((wrong[:, None] < right).mean()) >= 0.95  # AUROC of planted noise


def test_a_larger_loss_is_never_more_surely_right() -> None:
    losses = np.concatenate([LOW, HIGH])
    found = clean_probabilities(losses)
    assert found is not None
    assert (np.diff(found[np.argsort(losses)]) <= 0).all()


@pytest.mark.parametrize(
    "losses", [np.full(50, 2.0), RNG.normal(1, 0.02, 5) * 0 + 1, np.array([0.1, 0.2])]
)
def test_one_bump_divides_nothing(losses: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    assert clean_probabilities(losses) is None


def test_a_loss_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1 of 3 that are not"):
        clean_probabilities(np.array([0.1, np.nan, 2.0]))
