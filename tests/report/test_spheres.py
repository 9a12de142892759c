from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medvit.geometry import affine_from, index_to_lps
from medvit.report.spheres import ball

CUBE = affine_from((0, 0, 0), (0, 0, 2), (0, 1, 0), (1, 0, 0))
SHEARED = affine_from((5, -3, 8), (0.3, 0.4, 2), (0, 0.8, 0.1), (0.9, -0.1, 0))


def test_a_sphere_of_one_millimetre_is_counted_by_hand() -> None:
    found = ball(CUBE, (5, 7, 7), centre_lps_mm=(3.0, 3.0, 4.0), radius_mm=1.0)
    assert found.start == (2, 2, 2)
    assert found.planes() == [2]
    assert found.plane(2, (7, 7)).astype(int)[2:5, 2:5].tolist() == [
        [0, 1, 0],
        [1, 1, 1],
        [0, 1, 0],
    ]
    assert found.plane(2, (7, 7)).sum() == 5


def test_a_sphere_between_voxels_is_the_nearest_voxel() -> None:
    found = ball(CUBE, (5, 7, 7), centre_lps_mm=(3.4, 3.4, 4.9), radius_mm=0.1)
    assert found.planes() == [2]
    assert np.argwhere(found.plane(2, (7, 7))).tolist() == [[3, 3]]


def test_a_sphere_outside_the_volume_is_a_voxel_of_its_border() -> None:
    found = ball(CUBE, (5, 7, 7), centre_lps_mm=(-20.0, 3.0, 100.0), radius_mm=2.0)
    assert found.planes() == [4]
    assert np.argwhere(found.plane(4, (7, 7))).tolist() == [[3, 0]]


@pytest.mark.parametrize("radius_mm", [0.0, -1.0, float("nan")])
def test_a_radius_that_is_none_is_named(radius_mm: float) -> None:
    with pytest.raises(ValueError, match=f"must be positive, got {radius_mm} mm"):
        ball(CUBE, (5, 7, 7), centre_lps_mm=(0, 0, 0), radius_mm=radius_mm)


inside = st.floats(0, 9, allow_nan=False)


@given(z=inside, y=inside, x=inside, radius_mm=st.floats(0.3, 6), sheared=st.booleans())
def test_voxels_are_those_whose_centres_are_near_enough(
    z: float, y: float, x: float, radius_mm: float, *, sheared: bool
) -> None:
    assume(all(abs(value % 1 - 0.5) > 1e-9 for value in (z, y, x)))  # one voxel is the nearest
    affine, shape = (SHEARED if sheared else CUBE), (10, 10, 10)
    centre = index_to_lps(affine, (z, y, x))
    found = ball(affine, shape, centre_lps_mm=tuple(centre), radius_mm=radius_mm)
    mask = np.zeros(shape, dtype=bool)
    for plane in found.planes():
        mask[plane] = found.plane(plane, shape[1:])
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance_mm = np.linalg.norm(index_to_lps(affine, grid) - centre, axis=-1)
    expected = distance_mm <= radius_mm
    expected[tuple(np.clip(np.round((z, y, x)), 0, 9).astype(int))] = True
    sure = abs(distance_mm - radius_mm) > 1e-9
    assert (mask == expected)[sure].all()


def test_spheres_meet_where_they_share_a_voxel() -> None:
    first, near, far = (
        ball(CUBE, (9, 30, 30), centre_lps_mm=(x, 10.0, 8.0), radius_mm=3.0)
        for x in (8.0, 13.0, 16.0)
    )
    assert first.meets(near)
    assert near.meets(first)
    assert not first.meets(far)
    touching_boxes = ball(CUBE, (9, 30, 30), centre_lps_mm=(12.0, 14.0, 8.0), radius_mm=2.0)
    assert not first.meets(touching_boxes)
