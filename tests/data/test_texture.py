"""Texture without training."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from medvit.data.texture import BINS, RINGS, texture_features


def drawn(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)


def test_each_part_is_the_root_of_a_histogram() -> None:
    found = texture_features(drawn(0))
    sizes = [*(points + 2 for points, _ in RINGS), BINS, BINS]
    parts = np.split(found, np.cumsum(sizes)[:-1])
    assert [len(part) for part in parts] == sizes
    for part in parts:
        assert (part**2).sum() == pytest.approx(1)


def test_a_turned_image_has_the_same_patterns() -> None:
    first, second = texture_features(drawn(1)), texture_features(np.rot90(drawn(1)).copy())
    np.testing.assert_allclose(first[10:], second[10:], atol=0.03)


def test_stripes_and_noise_lie_far_apart() -> None:
    stripes = np.tile(np.array([60, 60, 180, 180], np.uint8), (40, 10))
    noise = [texture_features(drawn(seed)) for seed in (2, 3)]
    near = np.linalg.norm(noise[0] - noise[1])
    assert np.linalg.norm(noise[0] - texture_features(stripes)) > 5 * near


@pytest.mark.parametrize("shape", [(7, 40), (40, 40, 3)])
def test_what_is_no_grey_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least 8 px a side, got \("):
        texture_features(np.zeros(shape, np.uint8))
