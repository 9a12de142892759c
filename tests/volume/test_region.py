from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.geometry import affine_from, index_to_lps
from medvit.volume.region import Box, Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import volume_of
from tests.make.chest import centred_affine

VOLUME = volume_of(np.zeros((20, 30, 25)), centred_affine((20, 30, 25), (2.5, 0.8, 0.9)))
FINE, COARSE = VoxelGrid.of(VOLUME, 1.0), VoxelGrid.of(VOLUME, 3.0)


def region_of(*voxels: tuple[int, int, int]) -> Region:
    mask = np.zeros(COARSE.shape, dtype=bool)
    for voxel in voxels:
        mask[voxel] = True
    return Region(mask, COARSE.affine_lps)


def test_points_beyond_the_mask_are_not_in_it() -> None:
    region = Region(np.ones((2, 2, 2), dtype=bool), np.eye(4))
    points = np.array([[0, 0, 0], [1, 1, 1.4], [-0.6, 0, 0], [0, 0, 2]])
    assert region.contains(points).tolist() == [True, True, False, False]


def test_one_coarse_voxel_is_three_fine_ones_wide() -> None:
    # 50 mm of slices: 50 fine and 17 coarse voxels, both about the same middle.
    box = region_of((8, 4, 3)).box_on(FINE)
    assert box is not None
    assert box[0] == slice(23, 27)  # 23.5 to 26.5, rounded outwards
    middle = index_to_lps(FINE.affine_lps, [(s.start + s.stop - 1) / 2 for s in box])
    assert np.abs(middle - index_to_lps(COARSE.affine_lps, (8, 4, 3))).max() <= 0.5


def test_an_empty_region_has_no_box() -> None:
    assert region_of().box_on(FINE) is None


@given(st.data())
def test_a_box_touches_exactly_when_it_shares_volume_with_a_voxel(data: st.DataObject) -> None:
    z, y, x = (data.draw(st.integers(0, n - 1)) for n in COARSE.shape)
    region = region_of((z, y, x))
    parts = []
    for length in FINE.shape:
        start = data.draw(st.integers(-3, length))
        parts.append(slice(start, data.draw(st.integers(start + 1, length + 4))))
    box: Box = (parts[0], parts[1], parts[2])
    corner = index_to_lps(COARSE.affine_lps, (z, y, x))[::-1] - 1.5
    first = index_to_lps(FINE.affine_lps, [s.start for s in box])[::-1] - 0.5
    lengths = np.array([s.stop - s.start for s in box])
    shares = np.all((first < corner + 3 - 1e-9) & (corner < first + lengths - 1e-9))
    touches = region.touches(box, on=FINE)
    assert touches or not shares
    if touches:
        assert np.all((first <= corner + 3 + 1e-9) & (corner <= first + lengths + 1e-9))


def test_a_mask_across_the_grid_is_refused() -> None:
    turned = affine_from((0, 0, 0), (0, 3, 0), (0, 0, 3), (3, 0, 0))
    with pytest.raises(ValueError, match="must share their axes, got"):
        Region(np.ones((2, 2, 2), dtype=bool), turned).box_on(FINE)
