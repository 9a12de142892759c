from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.geometry import affine_from, index_to_lps, lps_to_index
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


def test_runs_are_the_parts_of_an_axis_that_hold_region() -> None:
    whole: Box = (slice(0, 50), slice(0, 24), slice(0, 22))
    region = region_of((8, 4, 1), (8, 4, 2), (8, 5, 6))
    # 22 fine and 8 coarse voxels share their middle: coarse voxel 1 starts at 3 * 1 - 1.
    first, second = slice(2, 8), slice(17, 20)
    assert region.runs_within(whole, 2, on=FINE) == [first, second]
    left: Box = (slice(0, 50), slice(0, 24), slice(0, 6))
    assert region.runs_within(left, 2, on=FINE) == [slice(2, 6)]
    assert region.box_within(left, on=FINE) == (slice(23, 27), slice(12, 15), slice(2, 6))
    below: Box = (slice(0, 5), slice(0, 24), slice(0, 22))
    assert region.runs_within(below, 2, on=FINE) == []
    assert region.box_within(below, on=FINE) is None


def test_litres_are_those_of_whole_voxels() -> None:
    region = region_of((8, 4, 1), (8, 4, 2), (12, 5, 6))
    whole: Box = (slice(0, 50), slice(0, 24), slice(0, 22))
    assert region.litres_within(whole, on=FINE) == pytest.approx(81e-6)
    assert region.litres_within((slice(0, 30), *whole[1:]), on=FINE) == pytest.approx(54e-6)


def test_a_region_on_a_finer_grid_agrees_point_by_point() -> None:
    rng = np.random.default_rng(0)
    region = Region(rng.random(COARSE.shape) < 0.4, COARSE.affine_lps)
    box: Box = (slice(-3, 20), slice(5, 30), slice(0, 22))
    index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    points = index_to_lps(FINE.affine_lps, index)
    place = lps_to_index(COARSE.affine_lps, points)
    is_clear = (np.abs(place - np.floor(place) - 0.5) > 1e-6).all(axis=-1)
    assert is_clear.mean() > 0.2
    agrees = region.on_grid(box, on=FINE) == region.contains(points)
    assert agrees[is_clear].all()


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
