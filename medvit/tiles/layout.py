"""Tiles over a region of any shape: each row of them over its own extent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from medvit.tiles.grid import Box, Tile, TileForm, tiles_along
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid

Place = tuple[int, slice]
"""Start and core range of a tile along one axis."""


CUT_VOXELS = 12
"""Layers may end at multiples of about so much; finer steps save no more tiles."""


def lay_tiles(region: Region, grid: VoxelGrid, form: TileForm) -> tuple[Tile, ...]:
    """Return few tiles whose cores divide a region, in order of z, then y, then x.

    The region is cut into layers along z where that takes the fewest tiles. Each layer
    is laid over its own extent, as rows along y over their own extents in x or as
    columns along x over their own extents in y, whichever takes fewer. Parts that lie
    apart, such as two lungs, are covered one by one where that takes no more tiles.
    Every voxel of the region lies in exactly one core, as far from the sides of its
    tile as `iter_tiles` says.
    """
    box = region.box_on(grid)
    tiles = _layers(region, grid, form, box[0]) if box else []
    tiles.sort(key=lambda tile: tile.start)
    return tuple(replace(tile, number=number) for number, tile in enumerate(tiles))


def _layers(region: Region, grid: VoxelGrid, form: TileForm, axis: slice) -> list[Tile]:
    """Return the fewest tiles over all ways to cut an axis into layers.

    The best way up to each cut is the best way up to an earlier one and a layer between.
    """
    unit = form.align * max(1, CUT_VOXELS // form.align)
    inner = range((axis.start // unit + 1) * unit, axis.stop, unit)
    cuts = [axis.start, *inner, axis.stop]
    best: list[list[Tile] | None] = [[]]
    for cut in cuts[1:]:
        ways = []
        for below, earlier in zip(best, cuts, strict=False):
            start = _layer_start(slice(earlier, cut), axis, form)
            if below is not None and start is not None:
                ways.append(below + _layer(region, grid, form, (start, slice(earlier, cut))))
        best.append(min(ways, key=len, default=None))
    even = [tile for z in tiles_along(axis, form) for tile in _layer(region, grid, form, z)]
    cut_up = best[-1]
    return even if cut_up is None or len(even) <= len(cut_up) else cut_up


def _layer_start(core: slice, axis: slice, form: TileForm) -> int | None:
    """Return where tiles start that hold a layer and half the overlap towards its neighbours.

    None if the layer is too thick for that.
    """
    half, align = ceil(form.overlap / 2), form.align
    low = core.stop + (half if core.stop < axis.stop else 0) - form.side
    high = core.start - (half if core.start > axis.start else 0)
    first, last = ceil(low / align) * align, high // align * align
    middle = (core.start + core.stop - form.side) // 2 // align * align
    return min(max(middle, first), last) if first <= last else None


def _layer(region: Region, grid: VoxelGrid, form: TileForm, z: Place) -> list[Tile]:
    """Return the tiles of one layer, in rows or in columns."""
    rows, columns = (list(_iter_layer(region, grid, form, z, axes)) for axes in ((1, 2), (2, 1)))
    return rows if len(rows) <= len(columns) else columns


def _iter_layer(
    region: Region, grid: VoxelGrid, form: TileForm, z: Place, axes: tuple[int, int]
) -> Iterator[Tile]:
    """Yield the tiles of one layer: along one axis, and along the other within each."""
    outer, inner = axes
    layer: Box = (z[1], slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    for outer_start, outer_core in _places(region, grid, form, layer, outer):
        row = _with(layer, outer, outer_core)
        for inner_start, inner_core in _places(region, grid, form, row, inner):
            core = _with(row, inner, inner_core)
            y, x = (outer_start, inner_start) if outer == 1 else (inner_start, outer_start)
            if region.touches(core, on=grid):
                yield Tile((z[0], y, x), form.side, core)


def _places(region: Region, grid: VoxelGrid, form: TileForm, box: Box, axis: int) -> list[Place]:
    """Return the fewest tiles along an axis that cover what a box holds of the region."""
    runs = region.runs_within(box, axis, on=grid)
    best: list[list[Place]] = [[]]  # for the first 0, 1, ... runs
    for last in range(len(runs)):
        ways = [
            best[first] + tiles_along(slice(runs[first].start, runs[last].stop), form)
            for first in range(last, -1, -1)
        ]
        best.append(min(ways, key=len))
    return best[-1]


def _with(box: Box, axis: int, part: slice) -> Box:
    z, y, x = (part if at == axis else whole for at, whole in enumerate(box))
    return z, y, x
