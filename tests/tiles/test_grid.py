from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import integers

from medvit.tiles.grid import Box, TileForm, iter_tiles, tile_starts, tiles_along


@given(length=integers(1, 200), side=integers(1, 32), step=integers(1, 32))
def test_tiles_cover_every_voxel(length: int, side: int, step: int) -> None:
    step = min(step, side)
    starts = tile_starts(length, side=side, step=step)
    seen = np.zeros(length, dtype=bool)
    for start in starts:
        seen[start : start + side] = True
    assert seen.all()
    assert starts[0] == 0
    assert starts[-1] + side == max(length, side)
    assert all(0 < b - a <= step for a, b in pairwise(starts))


@given(length=integers(1, 200), side=integers(1, 32), step=integers(1, 32))
def test_no_tile_is_wasted(length: int, side: int, step: int) -> None:
    step = min(step, side)
    fewest = 1
    while side + (fewest - 1) * step < length:
        fewest += 1
    assert len(tile_starts(length, side=side, step=step)) == fewest


@given(st.data())
def test_every_voxel_of_the_box_lies_in_one_core_with_a_margin(data: st.DataObject) -> None:
    side = data.draw(integers(2, 12))
    overlap = data.draw(integers(0, side - 1))
    parts = []
    for _ in range(3):
        start = data.draw(integers(0, 5))
        parts.append(slice(start, start + data.draw(integers(1, 20))))
    box: Box = (parts[0], parts[1], parts[2])
    count = np.zeros([part.stop for part in box], dtype=int)
    for tile in iter_tiles(box, side=side, overlap=overlap):
        count[tile.core] += 1
        for core, whole, axis in zip(tile.core, tile.box, box, strict=True):
            assert core.start == axis.start or core.start - whole.start >= overlap // 2
            assert core.stop == axis.stop or whole.stop - core.stop >= overlap // 2
            assert whole.start <= core.start < core.stop <= whole.stop
    assert (count[box] == 1).all()
    assert count.sum() == count[box].size


def test_tiles_come_slice_by_slice_from_the_bottom() -> None:
    tiles = list(iter_tiles((slice(0, 20), slice(0, 20), slice(0, 20)), side=12, overlap=4))
    starts = [tile.start for tile in tiles]
    assert starts == sorted(starts)
    assert len(starts) == 8
    assert tiles[0].core == (slice(0, 10), slice(0, 10), slice(0, 10))


def test_a_thin_box_lies_in_the_middle_of_its_tile() -> None:
    (tile,) = iter_tiles((slice(10, 14), slice(0, 12), slice(3, 8)), side=12, overlap=4)
    assert tile.start == (6, 0, -1)
    assert tile.core == (slice(10, 14), slice(0, 12), slice(3, 8))


def test_unwanted_tiles_are_left_out() -> None:
    box = (slice(0, 20), slice(0, 12), slice(0, 12))
    kept = list(iter_tiles(box, side=12, overlap=4, keep=lambda core: core[0].start > 0))
    assert [tile.start for tile in kept] == [(8, 0, 0)]


def test_an_empty_box_has_no_tiles() -> None:
    assert list(iter_tiles((slice(0, 0), slice(0, 9), slice(0, 9)), side=4, overlap=1)) == []


def test_numbers_are_those_of_all_tiles() -> None:
    box = (slice(0, 20), slice(0, 20), slice(0, 12))
    kept = list(iter_tiles(box, side=12, overlap=4, keep=lambda core: core[1].start > 0))
    assert [tile.number for tile in kept] == [1, 3]


@given(st.data())
def test_aligned_tiles_cover_an_axis_in_whole_cells(data: st.DataObject) -> None:
    align = data.draw(integers(1, 4))
    side = align * data.draw(integers(2, 6))
    overlap = align * data.draw(integers(0, side // align - 1))
    start = data.draw(integers(0, 20))
    axis = slice(start, start + data.draw(integers(1, 60)))
    tiles = tiles_along(axis, TileForm(side, overlap, align))
    covered = [voxel for _, core in tiles for voxel in range(core.start, core.stop)]
    assert covered == list(range(axis.start, axis.stop))
    for tile_start, core in tiles:
        assert tile_start % align == 0
        assert tile_start <= core.start < core.stop <= tile_start + side
    for (one, core), (other, _) in pairwise(tiles):
        assert 0 < other - one <= side - overlap
        assert core.stop % align == 0
        assert core.stop - other >= overlap // 2 // align * align


@pytest.mark.parametrize(("side", "overlap"), [(30, 8), (32, 10)])
def test_tiles_that_are_no_whole_cells_are_refused(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of align, got .*side={side}"):
        TileForm(side, overlap, align=4)


def test_a_step_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got step=5, side=4, length=9"):
        tile_starts(9, side=4, step=5)


@pytest.mark.parametrize("overlap", [-1, 12])
def test_an_overlap_without_a_step_is_refused(overlap: int) -> None:
    box = (slice(0, 20), slice(0, 20), slice(0, 20))
    with pytest.raises(ValueError, match=f"0 to 11 voxels, got {overlap}"):
        list(iter_tiles(box, side=12, overlap=overlap))
