"""Of thousands of features a strange image is told apart, where they do not fit the images."""

from __future__ import annotations

import numpy as np
import pytest

from medvit.trust.ood import KnownLooks
from medvit.trust.reduction import Reduction
from medvit.trust.typicality import Floats, Indices, Typicality

WIDTH, KNOWN_DIRECTIONS = 1_000, 20


def known(count: int, seed: int) -> tuple[Floats, Indices]:
    """Return images of two classes: they vary along few directions, and little beside them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    frame = np.linalg.qr(np.random.default_rng(9).normal(size=(WIDTH, KNOWN_DIRECTIONS)))[0].T
    along = rng.normal(size=(count, KNOWN_DIRECTIONS)) * 3
    along[:, 0] += 20 * labels
    return along @ frame + 0.05 * rng.normal(size=(count, WIDTH)), labels


def strange(count: int) -> Floats:
    """Return known images with something beside what any of them has."""
    direction = np.random.default_rng(5).normal(size=WIDTH)
    return known(count, 3)[0] + 8 * direction / np.linalg.norm(direction)


def test_what_lies_beside_known_directions_is_strange() -> None:
    x, labels = known(200, 0)
    held_out = known(100, 1)[0]
    looks = KnownLooks.of(x, labels, held_out)
    assert (looks.ood(known(200, 2)[0]) > 0).mean() < 0.15
    assert (looks.ood(strange(100)) > 0).mean() > 0.9


def test_without_it_shrinkage_calls_strange_images_typical() -> None:
    x, labels = known(200, 0)
    plain = Typicality.of(x, labels)
    limit = np.quantile(plain.scores(known(100, 1)[0]), 0.05)
    assert (plain.scores(strange(100)) < limit).mean() < 0.5


def test_few_features_are_judged_as_they_are() -> None:
    rng = np.random.default_rng(0)
    assert Reduction.of(rng.normal(size=(40, 10))) is None
    assert Reduction.of(rng.normal(size=(39, 10))) is not None


def test_features_half_as_many_as_images_are_too_many() -> None:
    x, labels = known(200, 0)
    looks = KnownLooks.of(x[:, :100], labels, known(100, 1)[0][:, :100])
    assert looks.reduction is not None


def test_features_that_are_no_numbers_are_refused() -> None:
    x, _ = known(40, 0)
    x[3, 7] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        Reduction.of(x)


def test_few_images_leave_something_beside_the_directions() -> None:
    found = Reduction.of(known(12, 0)[0])
    assert found is not None
    assert len(found.directions) == 3
    assert found.split(known(12, 0)[0])[1].mean() == pytest.approx(1)
