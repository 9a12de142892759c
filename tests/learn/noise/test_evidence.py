"""Who speaks against a label: folds, neighbours, and all witnesses together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medvit.learn.noise.cross_validation import deal_groups, out_of_sample, scaled
from medvit.learn.noise.evidence import weigh_labels
from medvit.learn.noise.neighbours import find_neighbours

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def problem(n: int = 300, *, share: float = 0.2) -> tuple[Floats, Indices, Indices]:
    """Return features of three classes, labels of which a share is wrong, and right ones."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=n)
    features = 3 * np.eye(3, 8)[truth] + rng.normal(size=(n, 8))
    wrong = rng.random(n) < share
    return features, np.where(wrong, (truth + rng.integers(1, 3, n)) % 3, truth), truth


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=2, max_size=60))
def test_folds_keep_groups_whole_and_hold_all_images(rows: list[tuple[int, int]]) -> None:
    groups = [f"part {group}" for group, _ in rows]
    labels = np.array([label for _, label in rows])
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="at least 2 groups of images, got 1"):
            deal_groups(groups, labels)
        return
    folds = deal_groups(groups, labels)
    assert len({(name, fold) for name, fold in zip(groups, folds, strict=True)}) == len(set(groups))
    assert 2 <= len(np.unique(folds)) <= 5


def test_classes_are_spread_evenly_over_folds() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 10])
    folds = deal_groups([str(n) for n in range(80)], labels)
    table = np.array([[(folds[labels == k] == f).sum() for f in range(5)] for k in range(3)])
    assert table.tolist() == [[10] * 5, [4] * 5, [2] * 5]


def test_an_image_is_not_judged_by_its_own_group() -> None:
    features, labels, _ = problem(60)
    groups = [str(n // 6) for n in range(60)]
    folds = deal_groups(groups, labels)
    before = out_of_sample(features, labels, folds=folds).probabilities
    moved = labels.copy()
    moved[:6] = (moved[:6] + 1) % 3  # the labels of the first group
    after = out_of_sample(features, moved, folds=folds).probabilities
    inside = folds == folds[0]
    np.testing.assert_allclose(after[inside], before[inside], atol=1e-9)
    assert not np.allclose(after[~inside], before[~inside])


def test_a_label_that_no_other_fold_has_twice_is_not_judged() -> None:
    features, labels, _ = problem(40)
    labels[:1] = 3
    found = out_of_sample(features, labels, folds=deal_groups([str(n) for n in range(40)], labels))
    assert np.flatnonzero(~found.is_judged).tolist() == [0]
    assert found.probabilities[0].argmax() == 3
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_neighbours_are_those_a_loop_finds() -> None:
    features, labels, _ = problem(40)
    groups = np.arange(40) // 4
    found = find_neighbours(features, labels, groups=groups, count=3)
    for i in range(40):
        others = [j for j in range(40) if groups[j] != groups[i]]
        others.sort(key=lambda j: float(((features[j] - features[i]) ** 2).sum()))
        assert found.places[i].tolist() == others[:3]
        votes = np.zeros(3)
        for rank, j in enumerate(others[:3]):
            votes[labels[j]] += 1 / np.sqrt(1 + rank)
        np.testing.assert_allclose(found.votes[i], votes / votes.sum())
    with pytest.raises(ValueError, match="all 40 images are one group"):
        find_neighbours(features, labels, groups=np.zeros(40, dtype=np.intp))


def test_planted_noise_is_measured_and_ranked() -> None:
    features, labels, truth = problem()
    found = weigh_labels([features], labels, groups=[str(n) for n in range(300)])
    wrong = labels != truth
    assert found.estimate.noise_rate == pytest.approx(wrong.mean(), abs=0.04)
    assert not found.rates_differ
    ranks = np.empty(300)
    ranks[found.order] = np.arange(300)
    auroc = (ranks[wrong][:, None] < ranks[~wrong]).mean()
    assert auroc >= 0.95
    assert wrong[found.order[:50]].mean() >= 0.9
    assert (np.diff(found.chances[found.order]) <= 0).all()
    assert (found.suggested(labels)[wrong] == truth[wrong]).mean() >= 0.9
    for label in range(3):
        assert min(found.support(labels, label)) > 0.6


def test_kinds_of_features_weigh_alike_and_constant_columns_say_nothing() -> None:
    features, labels, _ = problem(100)
    groups = [str(n) for n in range(100)]
    once = weigh_labels([features], labels, groups=groups)
    padded = weigh_labels([features, np.ones((100, 50))], labels, groups=groups)
    assert np.array_equal(once.neighbours.places, padded.neighbours.places)
    assert scaled(np.ones((4, 2))).tolist() == [[0.0, 0.0]] * 4
    with pytest.raises(ValueError, match="got a single class"):
        weigh_labels([features], np.zeros(100, dtype=np.intp), groups=groups)
