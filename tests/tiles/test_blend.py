from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Mapping
from math import ceil

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import integers

from medvit.tiles.blend import (
    Maps,
    Slab,
    Window,
    blend,
    blend_bytes,
    flat_window,
    gaussian_window,
    tent_window,
)
from medvit.tiles.grid import Box, iter_tiles

WINDOWS: tuple[Window, ...] = (gaussian_window, tent_window, flat_window)
Tiles = dict[int, tuple[Box, Maps]]


def box_of(*ranges: tuple[int, int]) -> Box:
    z, y, x = (slice(start, stop) for start, stop in ranges)
    return z, y, x


def joined(
    tiles: Mapping[int, tuple[Box, Maps]],
    within: Box,
    *,
    channels: int = 1,
    thickness: int = 3,
    window: Window = gaussian_window,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """All slabs put together: values (c, z, y, x) and weight (z, y, x)."""
    slabs = list(
        blend(
            {number: box for number, (box, _) in tiles.items()},
            lambda number: tiles[number][1],
            within=within,
            channels=channels,
            thickness=thickness,
            window=window,
        )
    )
    assert [slab.z.start for slab in slabs] == list(
        range(within[0].start, within[0].stop, thickness)
    )
    assert slabs[-1].z.stop == within[0].stop
    values = np.concatenate([slab.values for slab in slabs], axis=1)
    return values, np.concatenate([slab.weight for slab in slabs])


def voxel_by_voxel(tiles: Tiles, at: tuple[int, int, int], window: Window) -> tuple[float, float]:
    """Blend one cell of one channel with Python's own floats, in the order of numbers."""
    total = weight = 0.0
    for number in sorted(tiles):
        box, maps = tiles[number]
        if all(side.start <= i < side.stop for side, i in zip(box, at, strict=True)):
            place = [i - side.start for side, i in zip(box, at, strict=True)]
            z, y, x = (
                float(window(side.stop - side.start)[i]) for side, i in zip(box, place, strict=True)
            )
            total += z * y * x * float(maps[(0, *place)])
            weight += z * y * x
    return (total / weight, weight) if weight else (float("nan"), 0.0)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Tiles, Box]:
    """Up to six tiles of any size, anywhere about a grid that need not start at 0."""
    within = box_of(
        *((a, a + draw(integers(1, 7))) for a in draw(st.tuples(*[integers(-2, 2)] * 3)))
    )
    rng = np.random.default_rng(draw(integers(0, 2**32 - 1)))
    tiles: Tiles = {}
    for number in draw(st.lists(integers(0, 99), max_size=6, unique=True)):
        starts = draw(st.tuples(*[integers(-4, 8)] * 3))
        box = box_of(*((a, a + draw(integers(1, 6))) for a in starts))
        shape = [side.stop - side.start for side in box]
        tiles[number] = (box, rng.normal(scale=100, size=(1, *shape)).astype(np.float32))
    return tiles, within


@settings(max_examples=40, deadline=None)
@given(layout=layouts(), window=st.sampled_from(WINDOWS), thickness=integers(1, 9))
def test_every_cell_is_the_mean_that_a_slow_loop_finds_to_the_bit(
    layout: tuple[Tiles, Box], window: Window, thickness: int
) -> None:
    tiles, within = layout
    values, weight = joined(tiles, within, thickness=thickness, window=window)
    for index in np.ndindex(weight.shape):
        at = tuple(i + side.start for i, side in zip(index, within, strict=True))
        mean, total = voxel_by_voxel(tiles, (at[0], at[1], at[2]), window)
        np.testing.assert_array_equal(values[(0, *index)], np.float32(mean))
        assert weight[index] == np.float32(total)


@settings(max_examples=40, deadline=None)
@given(layout=layouts(), data=st.data(), window=st.sampled_from(WINDOWS))
def test_neither_order_nor_thickness_changes_a_bit(
    layout: tuple[Tiles, Box], data: st.DataObject, window: Window
) -> None:
    tiles, within = layout
    shuffled = {number: tiles[number] for number in data.draw(st.permutations(sorted(tiles)))}
    one = joined(tiles, within, thickness=data.draw(integers(1, 8)), window=window)
    other = joined(shuffled, within, thickness=data.draw(integers(1, 8)), window=window)
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1].tobytes() == other[1].tobytes()


def test_a_whole_scan_equals_sums_over_the_whole_volume_to_the_bit() -> None:
    within = box_of((0, 50), (0, 30), (0, 41))
    rng = np.random.default_rng(1)
    tiles = {
        number: (tile.box, rng.normal(size=(5, 12, 12, 12)).astype(np.float32))
        for number, tile in enumerate(iter_tiles(within, side=12, overlap=6))
    }
    w = gaussian_window(12).astype(np.float64)
    weights = w[:, None, None] * w[:, None] * w
    sums, total = np.zeros((5, 50, 30, 41)), np.zeros((50, 30, 41))
    for box, maps in tiles.values():
        sums[(slice(None), *box)] += weights * maps
        total[box] += weights
    values, weight = joined(tiles, within, channels=5, thickness=7)
    assert len(tiles) == 192
    assert values.tobytes() == (sums / total).astype(np.float32).tobytes()
    assert weight.tobytes() == total.astype(np.float32).tobytes()


@settings(deadline=None)
@given(
    constant=st.floats(width=32, allow_nan=False, allow_infinity=False),
    side=integers(2, 9),
    share=st.floats(0, 2 / 3),
    window=st.sampled_from(WINDOWS),
)
def test_a_constant_blends_to_itself_exactly(
    constant: float, side: int, share: float, window: Window
) -> None:
    within = box_of((0, 9), (0, 4), (0, 6))
    maps = np.full((1, side, side, side), constant, dtype=np.float32)
    grid = iter_tiles(within, side=side, overlap=min(int(share * side), side - 1))
    values, weight = joined(
        {number: (tile.box, maps) for number, tile in enumerate(grid)}, within, window=window
    )
    assert (weight > 0).all()
    assert (values == np.float32(constant)).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_up_to_32_tiles_on_one_cell_leave_a_constant_exact(window: Window) -> None:
    """The bound that the levels of the window promise, with a full mantissa."""
    box = box_of((0, 7), (0, 7), (0, 7))
    constant = np.nextafter(np.float32(2), np.float32(0))
    maps = np.full((1, 7, 7, 7), constant)
    places = [
        box_of((a, a + 7), (b, b + 7), (c, c + 7))
        for a in (-2, 0, 1, 3)
        for b in (0, 3)
        for c in (-1, 0, 1, 2)
    ]
    values, _ = joined(
        {number: (place, maps) for number, place in enumerate(places)}, box, window=window
    )
    assert len(places) == 32
    assert np.nanmin(values) == np.nanmax(values) == constant


def test_one_tile_alone_comes_back_as_it_is() -> None:
    maps = np.random.default_rng(2).normal(size=(2, 4, 5, 6)).astype(np.float32)
    box = box_of((3, 7), (0, 5), (-1, 5))
    values, weight = joined({7: (box, maps)}, box, channels=2)
    assert values.tobytes() == maps.tobytes()
    w = [gaussian_window(n) for n in (4, 5, 6)]
    assert (weight == w[0][:, None, None] * w[1][:, None] * w[2]).all()


def test_two_tiles_by_hand() -> None:
    """Tent weights of two cells are 1/2 and 1/2, of four 1/4, 3/4, 3/4, 1/4."""
    four = (box_of((0, 1), (0, 1), (0, 4)), np.full((1, 1, 1, 4), 8.0, np.float32))
    two = (box_of((0, 1), (0, 1), (3, 5)), np.full((1, 1, 1, 2), 2.0, np.float32))
    values, weight = joined({1: four, 0: two}, box_of((0, 1), (0, 1), (0, 6)), window=tent_window)
    np.testing.assert_array_equal(values[0, 0, 0], [8, 8, 8, (8 / 4 + 2 / 2) / (3 / 4), 2, np.nan])
    np.testing.assert_array_equal(weight[0, 0], [0.25, 0.75, 0.75, 0.75, 0.5, 0])


def test_a_missing_tile_leaves_a_hole_only_where_nobody_else_looks() -> None:
    within = box_of((0, 8), (0, 4), (0, 4))
    tiles: Tiles = {
        number: (box_of((start, start + 4), (0, 4), (0, 4)), np.ones((1, 4, 4, 4), np.float32))
        for number, start in enumerate((0, 2, 4))
    }
    del tiles[2]
    values, weight = joined(tiles, within)
    assert (values[:, :6] == 1).all()
    assert np.isnan(values[:, 6:]).all()
    assert (weight[:6] > 0).all()
    assert (weight[6:] == 0).all()


def test_without_any_tile_all_is_a_hole() -> None:
    values, weight = joined({}, box_of((2, 7), (0, 3), (0, 2)), channels=4)
    assert values.shape == (4, 5, 3, 2)
    assert np.isnan(values).all()
    assert not weight.any()


def test_an_empty_grid_has_no_slabs() -> None:
    slabs = blend(
        {},
        dict[int, Maps]().__getitem__,
        within=box_of((0, 0), (0, 3), (0, 3)),
        channels=1,
        thickness=2,
    )
    assert list(slabs) == []


def test_half_precision_blends_like_single() -> None:
    half = np.random.default_rng(3).normal(size=(1, 4, 4, 4)).astype(np.float16)
    places = [box_of((z, z + 4), (0, 4), (0, 4)) for z in (0, 2)]
    within = box_of((0, 6), (0, 4), (0, 4))
    one, _ = joined({n: (place, half) for n, place in enumerate(places)}, within)
    single: Maps = half.astype(np.float32)
    other, _ = joined({n: (place, single) for n, place in enumerate(places)}, within)
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("window", WINDOWS)
@settings(deadline=None)
@given(length=integers(1, 200))
def test_windows_are_symmetric_positive_and_highest_in_the_middle(
    window: Window, length: int
) -> None:
    weights = window(length)
    assert weights.dtype == np.float32
    assert weights.shape == (length,)
    assert (weights == weights[::-1]).all()
    assert weights.min() >= 1 / 256
    assert weights.max() <= 1
    assert (np.diff(weights[: (length + 1) // 2]) >= 0).all()


class CountedLoader:
    """Makes the maps of tiles, and knows how many of them are alive."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.loads: dict[int, int] = {}
        self.most_alive = 0
        self._alive: set[int] = set()

    def __call__(self, number: int) -> Maps:
        maps = np.full(self.shape, float(number), dtype=np.float32)
        self._alive.add(id(maps))
        weakref.finalize(maps, self._alive.discard, id(maps))
        self.loads[number] = self.loads.get(number, 0) + 1
        self.most_alive = max(self.most_alive, len(self._alive))
        return maps


def column(depth: int) -> tuple[dict[int, Box], Box]:
    within = box_of((0, depth), (0, 40), (0, 40))
    grid = iter_tiles(within, side=24, overlap=12)
    return {number: tile.box for number, tile in enumerate(grid)}, within


def peak_bytes(depth: int, thickness: int, load: Callable[[int], Maps]) -> int:
    boxes, within = column(depth)
    slabs = blend(boxes, load, within=within, channels=5, thickness=thickness)
    gc.collect()
    tracemalloc.start()
    for _slab in slabs:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("thickness", [4, 16])
def test_memory_is_what_the_formula_says_and_does_not_grow_with_depth(thickness: int) -> None:
    shallow, deep = (
        peak_bytes(depth, thickness, CountedLoader((5, 24, 24, 24))) for depth in (36, 84)
    )
    said = blend_bytes(channels=5, slab=(thickness, 40, 40), tile=(24, 24, 24))
    assert deep < shallow + 50_000
    assert 0.8 * said < deep < said + 50_000


@pytest.mark.parametrize("thickness", [1, 5, 24, 100])
def test_one_tile_is_held_at_a_time_and_loaded_as_often_as_said(thickness: int) -> None:
    boxes, within = column(72)
    load = CountedLoader((1, 24, 24, 24))
    for _slab in blend(boxes, load, within=within, channels=1, thickness=thickness):
        pass
    assert load.most_alive == 1
    assert set(load.loads) == set(boxes)
    assert max(load.loads.values()) <= 1 + ceil(23 / thickness)


def test_maps_of_another_shape_are_refused() -> None:
    box = box_of((0, 4), (0, 4), (0, 4))
    maps: Tiles = {3: (box, np.zeros((2, 4, 4, 5), np.float32))}
    words = r"maps of tile 3 must have shape \(1, 4, 4, 4\), got \(2, 4, 4, 5\)"
    with pytest.raises(ValueError, match=words):
        joined(maps, box)


def test_what_loading_raises_comes_out() -> None:
    box = box_of((0, 4), (0, 4), (0, 4))
    slabs = blend({5: box}, dict[int, Maps]().__getitem__, within=box, channels=1, thickness=4)
    with pytest.raises(KeyError, match="5"):
        next(slabs)


@pytest.mark.parametrize(("channels", "thickness"), [(0, 1), (1, 0), (1, -3)])
def test_numbers_that_make_no_slab_are_refused_at_once(channels: int, thickness: int) -> None:
    box = box_of((0, 4), (0, 4), (0, 4))
    with pytest.raises(ValueError, match=f"{channels=}, {thickness=}"):
        blend({}, dict[int, Maps]().__getitem__, within=box, channels=channels, thickness=thickness)


def test_a_slab_says_where_it_lies() -> None:
    box = box_of((5, 10), (0, 1), (0, 1))
    slabs = blend({}, dict[int, Maps]().__getitem__, within=box, channels=1, thickness=3)
    found: list[Slab] = list(slabs)
    assert [slab.z for slab in found] == [slice(5, 8), slice(8, 10)]
