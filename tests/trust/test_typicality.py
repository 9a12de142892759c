"""Relative Mahalanobis distance, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from medvit.trust.typicality import Floats, Indices, Typicality, typical_from


def known(n: int, seed: int) -> tuple[Floats, Indices]:
    """Draw three classes in eight dimensions that share a spread along the first axis."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    x = 8 * np.eye(8)[1:4][labels] + rng.normal(size=(n, 8)) * np.array([6, *[1] * 7])
    return x, labels


def test_scores_are_those_of_an_oracle() -> None:
    x, labels = known(300, 0)
    new, _ = known(50, 1)
    means = np.stack([x[labels == k].mean(axis=0) for k in range(3)])
    within = LedoitWolf(assume_centered=True).fit(x - means[labels])
    overall = LedoitWolf().fit(x)
    nearest = np.min([within.mahalanobis(new - mean) for mean in means], axis=0)
    expected = overall.mahalanobis(new - x.mean(axis=0) + overall.location_) - nearest
    np.testing.assert_allclose(Typicality.of(x, labels).scores(new), expected, rtol=1e-6, atol=1e-6)


def test_what_lies_between_the_classes_is_less_typical() -> None:
    x, labels = known(600, 0)
    typicality = Typicality.of(x, labels)
    held_out = typicality.scores(known(400, 1)[0])
    strange = np.random.default_rng(2).normal(size=(400, 8)) * np.array([6, *[1] * 7])
    strange[:, 1:4] += 8 / 3
    scores = typicality.scores(strange)
    auroc = float((held_out[:, None] > scores).mean())
    assert auroc > 0.95
    threshold = typical_from(held_out)
    assert (held_out >= threshold).mean() >= 0.95
    assert (scores >= threshold).mean() < 0.3


def test_turning_all_features_changes_nothing() -> None:
    x, labels = known(300, 0)
    new, _ = known(50, 1)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))
    plain = Typicality.of(x, labels).scores(new)
    np.testing.assert_allclose(Typicality.of(x @ turn, labels).scores(new @ turn), plain, rtol=1e-6)


def test_fewer_images_than_features_give_finite_scores() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(12, 64)), np.arange(12) % 3
    assert np.isfinite(Typicality.of(x, labels).scores(rng.normal(size=(5, 64)))).all()


def test_what_cannot_be_learnt_from_is_refused() -> None:
    x, labels = known(30, 0)
    with pytest.raises(ValueError, match=r"got counts \["):
        Typicality.of(x, labels + 1)
    with pytest.raises(ValueError, match=r"finite"):
        Typicality.of(np.where(x > 5, np.nan, x), labels)
    with pytest.raises(ValueError, match="got 19"):
        typical_from(np.zeros(19))
