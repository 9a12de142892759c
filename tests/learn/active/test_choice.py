"""Doubtful cases that are unlike each other come first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.learn.active.choice import LEAST_REASON, Choice, Floats, Pool, choose, strength


def slow(pool: Pool, count: int) -> list[int]:
    """Return the same choice, written as its definition."""
    x = (pool.features - pool.features.mean(0)) / pool.features.std(0)
    x /= 2 * np.sqrt((x**2).sum(1)).max()
    asked = [] if pool.asked is None else np.flatnonzero(pool.asked).tolist()
    chosen: list[int] = []
    for _ in range(count):
        best, top = -1, -1.0
        for i in range(len(x)):
            if i in asked or i in chosen:
                continue
            others = [*asked, *chosen]
            near = min([float(np.sqrt(((x[i] - x[j]) ** 2).sum())) for j in others], default=1.0)
            twins = sum(pool.groups[j] == pool.groups[i] for j in chosen)
            value = float(strength(pool)[i]) * min(near, 1.0) / (1 + twins)
            if value > top + 1e-12:
                best, top = i, value
        chosen.append(best)
    return chosen


def drawn(seed: int, n: int = 30) -> Pool:
    rng = np.random.default_rng(seed)
    groups = [f"scan-{k}" for k in rng.integers(4, size=n)]
    reasons = {"uncertainty": rng.random(n), "ood": (rng.random(n) > 0.8).astype(float)}
    return Pool(rng.normal(size=(n, 3)), reasons, groups, rng.random(n) > 0.9)


@pytest.mark.parametrize("seed", range(3))
def test_choices_are_those_of_the_definition(seed: int) -> None:
    pool = drawn(seed)
    assert [each.index for each in choose(pool, count=8)] == slow(pool, 8)


@given(seed=st.integers(0, 1000), count=st.integers(0, 40))
def test_each_case_comes_once_and_priorities_fall(seed: int, count: int) -> None:
    pool = drawn(seed, n=12)
    choices = choose(pool, count=count)
    assert pool.asked is not None
    indices = [each.index for each in choices]
    assert len(set(indices)) == len(indices) == min(count, int((~pool.asked).sum()))
    assert not pool.asked[indices].any()
    priorities = [each.priority for each in choices]
    assert priorities == sorted(priorities, reverse=True)
    assert all(0 <= value <= 1 for value in priorities)


def test_copies_of_one_hard_case_are_asked_about_once() -> None:
    x = np.array([[0.0, 0.0]] * 10 + [[4.0, 0.0], [0.0, 4.0], [-3.0, -3.0]])
    doubt = np.array([1.0] * 10 + [0.3] * 3)
    first = [each.index for each in choose(Pool(x, {"uncertainty": doubt}), count=4)]
    assert first[0] == 0
    assert set(first[1:]) == {10, 11, 12}


def shares_of(sizes: tuple[int, ...], *, count: int) -> list[int]:
    groups = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
    doubt = np.random.default_rng(0).uniform(0.7, 1.0, len(groups))
    chosen = choose(Pool(np.empty((len(groups), 0)), {"uncertainty": doubt}, groups), count=count)
    return [sum(groups[each.index] == f"g{k}" for each in chosen) for k in range(len(sizes))]


def test_a_large_scan_does_not_win() -> None:
    assert max(shares_of((500, 10, 10), count=12)) <= 5  # of 12, four each would be even
    assert sum(shares_of((500, 10, 10), count=12)) == 12


def test_reasons_add_up_by_hand() -> None:
    values: dict[str, Floats] = {
        "uncertainty": np.array([0.5, 0.0, 0.0]),
        "ood": np.array([1.0, 1.0, 0.0]),
    }
    found = strength(Pool(np.zeros((3, 1)), values))
    np.testing.assert_allclose(found, [0.75, 0.5, LEAST_REASON])  # 1 - 0.5 * 0.5


def test_nothing_gives_nothing_and_equal_cases_are_no_fault() -> None:
    assert choose(Pool(np.empty((0, 3)), {}), count=5) == []
    same = choose(Pool(np.ones((3, 2)), {"uncertainty": np.ones(3)}), count=2)
    assert same == [Choice(0, 1.0, 1.0, 1.0), Choice(1, 0.0, 1.0, 0.0)]


def test_what_is_no_reason_or_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'boredom'"):
        Pool(np.zeros((2, 1)), {"boredom": np.zeros(2)})
    with pytest.raises(ValueError, match="uncertainty must be 2 values of 0 to 1"):
        Pool(np.zeros((2, 1)), {"uncertainty": np.array([0.0, 1.5])})
    with pytest.raises(ValueError, match="finite"):
        Pool(np.array([[np.nan]]), {})
