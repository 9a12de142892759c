"""Tiles over a region of any shape: each row of them over its own extent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from medvit.tiles.grid import Box, Tile, TileForm, tiles_along
from medvit.volume.region import Region
from medvit.volume.resample import VoxelGrid

Place = tuple[int, slice]
"""Start and core range of a tile along one axis."""


def lay_tiles(region: Region, grid: VoxelGrid, form: TileForm) -> tuple[Tile, ...]:
    """Return few tiles whose cores divide a region, in order of z, then y, then x.

    Each layer of tiles along z is laid over the extent of the region at that height, as
    rows along y over their own extents in x or as columns along x over their own
    extents in y, whichever takes fewer. Parts that lie apart, such as two lungs, are
    covered one by one where that takes no more tiles. Every voxel of the region lies
    in exactly one core, as far from the sides of its tile as `iter_tiles` says.
    """
    box = region.box_on(grid)
    tiles: list[Tile] = []
    for z in tiles_along(box[0], form) if box else ():
        layers = [list(_iter_layer(region, grid, form, z, axes)) for axes in ((1, 2), (2, 1))]
        tiles += layers[0] if len(layers[0]) <= len(layers[1]) else layers[1]
    tiles.sort(key=lambda tile: tile.start)
    return tuple(replace(tile, number=number) for number, tile in enumerate(tiles))


def _iter_layer(
    region: Region, grid: VoxelGrid, form: TileForm, z: Place, axes: tuple[int, int]
) -> Iterator[Tile]:
    """Yield the tiles of one layer: first along one axis, then along the other within each."""
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
