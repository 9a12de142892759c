"""Two models on the same cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medvit.metrics.paired import Indices, Metric, mcnemar, paired_difference

RNG = np.random.default_rng(0)


def accuracy(right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Metric:
    return lambda places: float(right[places].mean())


@given(gained=st.integers(0, 30), lost=st.integers(0, 30))
def test_mcnemar_is_the_binomial_test_of_scipy(gained: int, lost: int) -> None:
    challenger = np.array([True] * gained + [False] * lost + [True, False])
    champion = np.array([False] * gained + [True] * lost + [True, False])
    found = mcnemar(challenger, champion)
    assert (found.gained, found.lost) == (gained, lost)
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p == pytest.approx(float(expected), abs=1e-12)
    assert found.can_decide == (gained + lost >= 6)


def test_fewer_than_six_cannot_decide_at_all() -> None:
    five = np.ones(5, bool)
    assert mcnemar(five, ~five).p > 0.05
    six = np.ones(6, bool)
    assert mcnemar(six, ~six).p < 0.05


def test_equal_models_are_neither_better_nor_worse() -> None:
    right = RNG.random(100) < 0.8
    found = paired_difference(accuracy(right), accuracy(right), np.arange(100), rng=RNG)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.is_not_worse(0.01)
    assert not found.is_better


def test_the_interval_is_that_of_the_normal_law_for_many_cases() -> None:
    one, other = RNG.random(2000) < 0.9, RNG.random(2000) < 0.8
    found = paired_difference(accuracy(one), accuracy(other), np.arange(2000), rng=RNG)
    change = one.astype(float) - other
    spread = 1.96 * change.std() / np.sqrt(2000)
    assert found.low == pytest.approx(change.mean() - spread, abs=0.003)
    assert found.high == pytest.approx(change.mean() + spread, abs=0.003)
    assert found.is_better


def test_copies_of_a_case_make_nobody_surer() -> None:
    one, other = RNG.random(60) < 0.9, RNG.random(60) < 0.8
    copies: Indices = np.repeat(np.arange(60), 10)
    alone = paired_difference(accuracy(one), accuracy(other), np.arange(60), rng=RNG)
    together = paired_difference(accuracy(one[copies]), accuracy(other[copies]), copies, rng=RNG)
    assert together.groups == 60
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.15)


def test_by_chance_few_equal_models_seem_better() -> None:
    seem_better = 0
    for _ in range(100):
        one, other = RNG.random(120) < 0.85, RNG.random(120) < 0.85
        found = paired_difference(
            accuracy(one), accuracy(other), np.arange(120), rng=RNG, rounds=100
        )
        seem_better += found.is_better
    assert seem_better / 100 <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 100)


def test_what_has_no_interval_is_refused() -> None:
    right = np.ones(4, bool)
    with pytest.raises(ValueError, match="2 groups or more, got 1"):
        paired_difference(accuracy(right), accuracy(right), np.zeros(4, np.intp), rng=RNG)
    with pytest.raises(ValueError, match="0 of 2000 draws have a figure"):
        paired_difference(lambda _: float("nan"), accuracy(right), np.arange(4), rng=RNG)
    with pytest.raises(ValueError, match=r"got \(4,\) and \(3,\)"):
        mcnemar(right, right[:3])
