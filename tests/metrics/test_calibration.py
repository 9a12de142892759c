"""Calibration error by hand and on honest probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.metrics.calibration import expected_calibration_error


def test_three_bins_by_hand() -> None:
    confidence, correct = [0.2, 0.3, 0.5, 0.9, 1.0], [0, 1, 1, 1, 1]
    gaps = (2 * abs(0.5 - 0.25), 1 * abs(1 - 0.5), 2 * abs(1 - 0.95))
    found = expected_calibration_error(confidence, correct, bins=3)
    assert found == pytest.approx(sum(gaps) / 5)


def test_bins_of_equal_mass_by_hand() -> None:
    found = expected_calibration_error([0.9, 0.6, 0.8, 0.7], [1, 0, 1, 1], bins=2, equal_mass=True)
    assert found == pytest.approx((2 * abs(0.5 - 0.65) + 2 * abs(1.0 - 0.85)) / 4)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_honest_probabilities_have_almost_no_error(equal_mass: bool) -> None:
    rng = np.random.default_rng(0)
    stated = rng.uniform(0.2, 1.0, 100_000)
    correct = rng.random(100_000) < stated
    assert expected_calibration_error(stated, correct, equal_mass=equal_mass) < 0.02


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        expected_calibration_error([0.1, 0.2], [1])
