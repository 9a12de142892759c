"""Labels spoilt on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.data.corruption import (
    Indices,
    flip_by_instance,
    flip_pairs,
    flip_symmetric,
    long_tail,
    long_tail_counts,
)

LABELS = np.random.default_rng(0).integers(4, size=8000)
FEATURES = np.eye(4)[LABELS] + np.random.default_rng(1).normal(size=(8000, 4))


def moved(labels: Indices) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the share of each class (row) that became another (column)."""
    table = np.zeros((4, 4))
    np.add.at(table, (LABELS, labels), 1)
    shares: np.ndarray[tuple[int, int], np.dtype[np.float64]] = table / table.sum(1, keepdims=True)
    return shares


def test_symmetric_noise_goes_to_every_other_class_alike() -> None:
    found = flip_symmetric(LABELS, classes=4, share=0.3, seed=5)
    np.testing.assert_allclose(moved(found), np.full((4, 4), 0.1) + 0.6 * np.eye(4), atol=0.03)
    np.testing.assert_array_equal(found, flip_symmetric(LABELS, classes=4, share=0.3, seed=5))


def test_pair_noise_goes_to_the_next_class() -> None:
    expected = 0.7 * np.eye(4) + 0.3 * np.roll(np.eye(4), 1, axis=1)
    found = flip_pairs(LABELS, classes=4, share=0.3, seed=5)
    np.testing.assert_allclose(moved(found), expected, atol=0.03)


def test_instance_noise_depends_on_the_image() -> None:
    found = flip_by_instance(LABELS, FEATURES, classes=4, share=0.3, seed=5)
    assert (found != LABELS).mean() == pytest.approx(0.3, abs=0.02)
    # Of one class, the images that became j differ from those that became another.
    own = (LABELS == 0) & (found != 0)
    first, second = (FEATURES[own & (found == j)].mean(axis=0) for j in (1, 2))
    assert float(np.abs(first - second).max()) > 0.3


def test_a_tail_falls_by_the_ratio_and_smaller_ones_hold_larger_ones() -> None:
    labels = np.repeat(np.arange(3), 100)
    names = [f"{number:03d}.png" for number in range(300)]
    steep = long_tail(names, labels, classes=3, ratio=50)
    assert np.bincount(labels[steep]).tolist() == [100, 14, 2]
    assert long_tail_counts(100, classes=3, ratio=50) == [100, 14, 2]
    assert set(steep) <= set(long_tail(names, labels, classes=3, ratio=10))


def test_a_class_too_small_for_its_place_is_named() -> None:
    labels = np.array([0] * 100 + [1] * 3 + [2] * 50)
    with pytest.raises(ValueError, match="class 1 needs 31 images for a tail of 10, got 3"):
        long_tail([str(i) for i in range(153)], labels, classes=3, ratio=10)


@pytest.mark.parametrize(("classes", "share"), [(1, 0.2), (4, 1.0), (4, -0.1)])
def test_shares_out_of_range_are_refused(classes: int, share: float) -> None:
    with pytest.raises(ValueError, match=rf"got {classes} and {share}"):
        flip_symmetric(LABELS, classes=classes, share=share, seed=0)
