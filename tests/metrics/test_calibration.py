"""Calibration error by hand and on honest probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.metrics.calibration import (
    Floats,
    PlattScale,
    calibrate_marks,
    calibrate_scans,
    expected_calibration_error,
)
from medvit.metrics.froc_matching import ScanMatches


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


def marks(count: int) -> tuple[Floats, Floats, list[str]]:
    """Return scores whose true chance is known: the logit is 0.5 times theirs, less 1."""
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, count)
    hits = (rng.random(count) < 1 / (1 + np.exp(1 - 0.5 * logits))).astype(np.float64)
    return 1 / (1 + np.exp(-logits)), hits, [f"scan-{n % 40}" for n in range(count)]


def test_a_known_line_through_the_logits_is_found() -> None:
    found = calibrate_marks(*marks(20_000))
    assert found.scale.slope == pytest.approx(0.5, rel=0.05)
    assert found.scale.intercept == pytest.approx(-1, rel=0.05)
    assert found.ece < 0.02
    assert found.ece_before > 0.1
    assert found.brier < found.brier_before
    assert (found.marks, found.groups) == (20_000, 40)
    assert PlattScale.of(found.for_card()) is not None


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.floats(0.1, 3), st.floats(-3, 3))
def test_calibration_keeps_the_order(a: float, b: float, slope: float, intercept: float) -> None:
    scale = PlattScale(slope, intercept)
    low, high = sorted((a, b))
    assert scale.apply(low) <= scale.apply(high)
    assert 0 < scale.apply(low) < 1


def test_a_scan_is_never_judged_by_a_fit_on_itself() -> None:
    """With one scan a fold, each group of marks is judged by the others' line alone."""
    scores, hits, groups = marks(400)
    whole = calibrate_marks(scores, hits, groups, folds=40)
    assert whole.scale == calibrate_marks(scores, hits, groups, folds=5).scale
    assert whole.ece != calibrate_marks(scores, hits, groups, folds=5).ece


def test_what_cannot_be_calibrated_is_refused() -> None:
    scores, hits, groups = marks(400)
    with pytest.raises(ValueError, match=r"needs 5 scans with hits .* got 1 and 1"):
        calibrate_marks(scores, hits, ["one"] * 400)
    with pytest.raises(ValueError, match="fitted slope is -"):
        calibrate_marks(1 - scores, hits, groups)
    with pytest.raises(ValueError, match="must lie in 0 to 1, got 2"):
        calibrate_marks(scores * 0 + 2, hits, groups)
    with pytest.raises(ValueError, match="positive slope, got -1"):
        PlattScale.of({"slope": -1.0})
    assert PlattScale.of({"temperature": 1.5}) is None


def test_scans_give_their_marks_as_hits_and_false_marks() -> None:
    rng = np.random.default_rng(4)
    scans = [
        ScanMatches(rng.uniform(0.4, 1, 2), rng.uniform(0, 0.6, 3), 2, 0, 0, 5) for _ in range(10)
    ]
    found = calibrate_scans(scans)
    assert (found.marks, found.hits, found.groups) == (50, 20, 10)
    assert found.scale.apply(0.9) > 0.6
    assert found.scale.apply(0.2) < 0.3
