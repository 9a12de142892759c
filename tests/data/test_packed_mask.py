"""A packed mask is the mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.packed_mask import PackedMask


@given(
    shape=st.tuples(*[st.integers(1, 19)] * 3),
    starts=st.tuples(*[st.integers(-5, 22)] * 3),
    sides=st.tuples(*[st.integers(0, 15)] * 3),
    seed=st.integers(0, 99),
)
def test_a_box_of_the_packed_mask_is_the_box_of_the_mask(
    shape: tuple[int, int, int],
    starts: tuple[int, int, int],
    sides: tuple[int, int, int],
    seed: int,
) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.5
    padded = np.pad(mask, 40)
    z, y, x = (slice(a, a + n) for a, n in zip(starts, sides, strict=True))
    expected = padded[tuple(slice(s.start + 40, s.stop + 40) for s in (z, y, x))]
    assert np.array_equal(PackedMask.of(mask).read(z, y, x), expected)


def test_single_voxels_and_the_whole_come_back() -> None:
    mask = np.random.default_rng(0).random((3, 4, 13)) < 0.5
    packed = PackedMask.of(mask)
    assert packed.bits.nbytes == 3 * 4 * 2
    assert np.array_equal(packed.all(), mask)
    assert all(packed.at(*map(int, place)) == mask[tuple(place)] for place in np.ndindex(3, 4, 13))


def test_a_voxel_beyond_the_mask_is_an_error() -> None:
    with pytest.raises(IndexError):
        PackedMask.of(np.ones((2, 2, 2), dtype=bool)).at(2, 0, 0)
