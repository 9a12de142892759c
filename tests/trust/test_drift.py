"""Drift is found when it is there, and seldom when it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from medvit.trust import drift
from medvit.trust.drift import Floats, cloud_p_value, is_alarm, measure_drift, rejected


def cases(n: int, seed: int, *, shift: float = 0.0) -> Floats:
    x = np.random.default_rng(seed).normal(size=(n, 8))
    x[:, 0] += shift
    return x


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 99)


def test_without_a_shift_alarms_are_as_rare_as_promised() -> None:
    runs = 120
    rng = np.random.default_rng(0)
    flags = [
        bool(measure_drift(cases(40, 2 * k), cases(40, 2 * k + 1), rng=rng).shifted)
        for k in range(runs)
    ]
    assert np.mean(flags) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_shift_of_half_a_deviation_is_found_with_two_hundred_cases() -> None:
    rng = np.random.default_rng(0)
    found = [
        measure_drift(cases(200, 2 * k), cases(200, 2 * k + 1, shift=0.5), rng=rng)
        for k in range(20)
    ]
    assert np.mean([bool(each.shifted) for each in found]) >= 0.9
    assert np.mean([each.effect_sd for each in found]) == pytest.approx(0.5, abs=0.1)


def test_permutation_p_values_are_uniform_without_a_shift() -> None:
    rng = np.random.default_rng(1)
    p_values = [cloud_p_value(cases(25, 3 * k), cases(25, 3 * k + 1), rng=rng) for k in range(150)]
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_the_statistic_is_that_of_a_slow_loop() -> None:
    a, b = cases(6, 0), cases(5, 1)
    both = np.concatenate([a, b])
    kernel = np.exp(-((both[:, None] - both) ** 2).sum(axis=2))
    expected = 0.0
    for i in range(11):
        for j in range(11):
            if i != j:
                weight = {(1, 1): 1 / 30, (0, 0): 1 / 20}.get((int(i < 6), int(j < 6)), -1 / 30)
                expected += weight * kernel[i, j]
    np.fill_diagonal(kernel, 0.0)
    side = (np.arange(11) < 6).astype(float)[:, None]
    assert float(drift._mmd(kernel, side)[0]) == pytest.approx(expected, abs=1e-12)


def test_the_strangest_cases_are_told() -> None:
    window = cases(60, 1)
    window[:20, 0] += 6
    found = measure_drift(cases(200, 0), window, rng=np.random.default_rng(0))
    assert set(found.shifted) == {"components", "cloud"}
    assert set(np.argsort(-found.unlikeness)[:20]) == set(range(20))


def test_benjamini_and_hochberg_by_hand() -> None:
    # Bounds at 5 % of 4: 0.0125, 0.025, 0.0375, 0.05; the third holds, so the first three go.
    p_values = {"a": 0.02, "b": 0.026, "c": 0.037, "d": 0.9}
    assert rejected(p_values) == ("a", "b", "c")
    assert rejected({}) == ()


def test_one_odd_run_is_no_alarm() -> None:
    assert not is_alarm([])
    assert not is_alarm([False, False, True])
    assert is_alarm([False, True, True])
    assert not is_alarm([True, True, False])


def test_too_few_or_broken_cases_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="window has 19"):
        measure_drift(cases(20, 0), cases(19, 1), rng=rng)
    broken = np.where(cases(30, 0) > 2, np.nan, cases(30, 0))
    with pytest.raises(ValueError, match="reference has 30"):
        measure_drift(broken, cases(30, 1), rng=rng)


def test_equal_features_are_no_fault() -> None:
    same = np.ones((20, 3))
    assert measure_drift(same, same, rng=np.random.default_rng(0)).shifted == ()
