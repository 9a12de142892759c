from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import integers

from medvit.tiles.grid import TileForm, iter_tiles
from medvit.tiles.layout import lay_tiles
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import volume_of
from tests.make.chest import centred_affine

FORM = TileForm(side=16, overlap=4, align=2)


def grid_of(shape: tuple[int, int, int], steps_mm: tuple[float, float, float]) -> VoxelGrid:
    return VoxelGrid.of(volume_of(np.zeros(shape), centred_affine(shape, steps_mm)), 1.0)


def region_on(grid: VoxelGrid, mask: np.ndarray) -> Region:
    return Region(mask, VoxelGrid.of(grid.volume, 3.0).affine_lps)


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_every_voxel_of_the_region_lies_in_one_core(data: st.DataObject) -> None:
    grid = grid_of((20, 34, 40), (data.draw(st.sampled_from([1.0, 2.5])), 1.0, 1.3))
    coarse = VoxelGrid.of(grid.volume, 3.0).shape
    rng = np.random.default_rng(data.draw(integers(0, 99)))
    region = region_on(grid, rng.random(coarse) < data.draw(st.sampled_from([0.01, 0.1, 0.9])))
    align = data.draw(st.sampled_from([1, 2, 4]))
    form = TileForm(side=16, overlap=data.draw(st.sampled_from([0, 4, 8])), align=align)
    tiles = lay_tiles(region, grid, form)
    z, y, x = (slice(0, n) for n in grid.shape)
    count = np.zeros(grid.shape, dtype=int)
    for tile in tiles:
        count[tile.core] += 1
        assert all(start % align == 0 for start in tile.start)
        for core, whole in zip(tile.core, tile.box, strict=True):
            assert whole.start <= core.start < core.stop <= whole.stop
    assert (count[region.on_grid((z, y, x), on=grid)] == 1).all()
    assert count.max(initial=0) <= 1
    assert [tile.number for tile in tiles] == list(range(len(tiles)))
    assert [tile.start for tile in tiles] == sorted(tile.start for tile in tiles)


def two_lungs(grid: VoxelGrid) -> Region:
    mask = np.zeros(VoxelGrid.of(grid.volume, 3.0).shape, dtype=bool)
    mask[:, 4:12, 1:6] = True
    mask[4:, 2:14, 15:19] = True
    return region_on(grid, mask)


def test_two_lungs_take_fewer_tiles_than_their_box() -> None:
    grid = grid_of((24, 50, 60), (1, 1, 1))
    region = two_lungs(grid)
    box = region.box_on(grid)
    assert box is not None
    boxed = list(
        iter_tiles(box, side=16, overlap=4, keep=lambda core: region.touches(core, on=grid))
    )
    tiles = lay_tiles(region, grid, FORM)
    assert len(tiles) < len(boxed)
    # Each lung is narrower than a tile: no tile is shared, none lies between them.
    assert {tile.core[2].start for tile in tiles} == {3, 45}


def test_layers_are_cut_where_the_region_narrows() -> None:
    # A plate of four tiles on a stem of one: layers spread evenly would cut the plate.
    grid = grid_of((45, 36, 36), (1, 1, 1))
    mask = np.zeros((15, 12, 12), dtype=bool)
    mask[:, 4:8, 4:8] = True
    mask[4:8] = True
    region = region_on(grid, mask)
    tiles = lay_tiles(region, grid, TileForm(side=24, overlap=4, align=2))
    layers = [tile.core[0] for tile in tiles]
    assert layers == [slice(0, 12), *[slice(12, 24)] * 4, slice(24, 45)]
    box = region.box_on(grid)
    assert box is not None
    evenly = iter_tiles(box, side=24, overlap=4, keep=lambda core: region.touches(core, on=grid))
    assert sum(1 for _ in evenly) == 12  # three layers, and the stem touches four cores in each


def test_near_parts_share_a_tile() -> None:
    grid = grid_of((6, 9, 30), (1, 1, 1))
    mask = np.zeros((2, 3, 10), dtype=bool)
    mask[..., 2] = mask[..., 5] = True
    (tile,) = lay_tiles(region_on(grid, mask), grid, FORM)
    assert tile.core == (slice(0, 6), slice(0, 9), slice(6, 18))


def test_a_scan_smaller_than_a_tile_takes_one() -> None:
    grid = grid_of((3, 5, 4), (1, 1, 1))
    region = region_on(grid, np.ones(VoxelGrid.of(grid.volume, 3.0).shape, dtype=bool))
    (tile,) = lay_tiles(region, grid, FORM)
    assert tile.core == (slice(0, 3), slice(0, 5), slice(0, 4))
    assert all(start <= 0 for start in tile.start)


def test_an_empty_region_takes_none() -> None:
    grid = grid_of((6, 9, 9), (1, 1, 1))
    assert lay_tiles(region_on(grid, np.zeros((2, 3, 3), dtype=bool)), grid, FORM) == ()


@pytest.mark.parametrize("axis", [1, 2])
def test_rows_or_columns_are_chosen_by_their_number(axis: int) -> None:
    # A long bar and a block beside it: rows along the bar take fewer tiles.
    mask = np.zeros((4, 20, 20), dtype=bool)
    mask[:, 0:4, :] = True
    mask[:, 8:12, 0:4] = True
    grid = grid_of((12, 60, 60), (1, 1, 1))
    region = region_on(grid, mask if axis == 1 else mask.swapaxes(1, 2))
    assert len(lay_tiles(region, grid, FORM)) == 6
