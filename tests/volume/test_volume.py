from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, none, one_of, tuples

from medvit.geometry import affine_from
from medvit.volume.volume import AIR_HU, Volume, volume_of

AFFINE = affine_from((0, 0, 0), (0, 0, 2), (0, 0.5, 0), (0.5, 0, 0))
VALUES = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)

BOUND = one_of(none(), integers(-9, 9))


@settings(deadline=None)
@given(z=tuples(BOUND, BOUND), y=tuples(BOUND, BOUND), x=tuples(BOUND, BOUND))
def test_a_box_is_what_numpy_gives(
    z: tuple[int | None, int | None],
    y: tuple[int | None, int | None],
    x: tuple[int | None, int | None],
) -> None:
    box = (slice(*z), slice(*y), slice(*x))
    np.testing.assert_array_equal(volume_of(VALUES, AFFINE).read(*box), VALUES[box])


def test_spacing_comes_from_the_affine() -> None:
    volume = volume_of(VALUES, AFFINE)
    assert volume.shape == (4, 5, 6)
    assert volume.spacing_mm == (2.0, 0.5, 0.5)


def test_changing_a_box_leaves_the_volume_as_it_is() -> None:
    volume = volume_of(VALUES, AFFINE)
    volume.read_all()[:] = -1
    np.testing.assert_array_equal(volume.read_all(), VALUES)


def test_padding_below_air_is_kept_by_read_and_raised_by_read_floored() -> None:
    volume = volume_of(np.array([[[-3024.0, -1024.0, 40.0]]]), AFFINE)
    everything = (slice(None),) * 3
    assert volume.read(*everything).tolist() == [[[-3024.0, -1024.0, 40.0]]]
    assert volume.read_floored(*everything).tolist() == [[[AIR_HU, -1024.0, 40.0]]]


def test_a_step_is_refused_by_its_value() -> None:
    with pytest.raises(ValueError, match=r"slice\(0, 4, 2\)"):
        volume_of(VALUES, AFFINE).read(slice(0, 4, 2), slice(None), slice(None))


def test_an_array_without_three_axes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(5, 6\)"):
        volume_of(VALUES[0], AFFINE)


def test_a_volume_without_voxels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 5, 6\)"):
        Volume((0, 5, 6), AFFINE, lambda z, y, x: VALUES[z, y, x])
