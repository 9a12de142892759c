"""Maps of tiles -> marks: of one tile by itself, or of the map that all of them give together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor

import numpy as np

from medvit.inference.marks import CHANNELS, Maps, Marks, decode, decode_slabs, joined
from medvit.tiles.blend import blend, blend_bytes
from medvit.tiles.grid import Box, Tile

CORE_SLACK_VOXELS = 2.0
"""A centre that its cell places this far outside the cores that were seen still counts."""


def marks_of_tile(tile: Tile, maps: Maps, *, stride: int, min_probability: float) -> Marks:
    """Return the candidates of one tile by itself, in voxels of the grid.

    Args:
        tile: Starts at a multiple of `stride`.
        maps: Shape (5, z, y, x), a cell for each `stride` voxels.
    """
    marks = decode(
        maps,
        first_cell=[start // stride for start in tile.start],
        stride=stride,
        min_probability=min_probability,
    )
    return _inside(marks, [tile])


def blended_marks(
    tiles: Mapping[int, Tile],
    maps_of: Callable[[Tile], Maps],
    *,
    stride: int,
    min_probability: float,
    most_bytes: int,
) -> Marks:
    """Return the candidates of the map that tiles give together, in voxels of the grid.

    Where tiles overlap, their maps are averaged by the weights of `blend`, a slab of the
    map at a time. Neither the order of the tiles nor the slabs change a bit.

    Args:
        tiles: By number; each starts at a multiple of `stride`.
        maps_of: Gives the maps of a tile, as for `marks_of_tile`.
        most_bytes: What adding up may take, beyond the least it needs.
    """
    if not tiles:
        return joined([])
    within = _cells(_around([tile.core for tile in tiles.values()]), stride)
    boxes = {number: _cells(tile.box, stride) for number, tile in tiles.items()}
    largest = max(side.stop - side.start for box in boxes.values() for side in box)
    slabs = blend(
        boxes,
        lambda number: maps_of(tiles[number]),
        within=within,
        channels=CHANNELS,
        thickness=_thickness(within, largest, most_bytes),
    )
    marks = decode_slabs(
        slabs,
        first_cell=(within[1].start, within[2].start),
        stride=stride,
        min_probability=min_probability,
    )
    return _inside(marks, list(tiles.values()))


def _thickness(within: Box, side: int, most_bytes: int) -> int:
    """Return how many planes of cells are added up at a time."""
    depth, rows, columns = (part.stop - part.start for part in within)
    tile = (side, side, side)
    one, two = (
        blend_bytes(channels=CHANNELS, slab=(planes, rows, columns), tile=tile) for planes in (1, 2)
    )
    return int(min(depth, 1 + max(0, most_bytes - one) // (two - one)))


def _cells(box: Box, stride: int) -> Box:
    """Return the cells that a box of grid voxels touches."""
    z, y, x = (slice(floor(side.start / stride), ceil(side.stop / stride)) for side in box)
    return z, y, x


def _around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of them."""
    z, y, x = (
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*boxes, strict=True)
    )
    return z, y, x


def _inside(marks: Marks, tiles: Sequence[Tile]) -> Marks:
    """Return the marks whose centre lies in the core of one of the tiles."""
    is_inside = np.zeros(len(marks.scores), dtype=bool)
    for tile in tiles:
        low = np.array([side.start - 0.5 for side in tile.core]) - CORE_SLACK_VOXELS
        high = np.array([side.stop - 0.5 for side in tile.core]) + CORE_SLACK_VOXELS
        is_inside |= np.all((marks.centres >= low) & (marks.centres < high), axis=1)
    return marks.at(is_inside)
