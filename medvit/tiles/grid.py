"""Tiles over a box: equal cubes that overlap, each with a core that is its alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil

Triple = tuple[int, int, int]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Tile:
    """A cube of grid voxels that the network sees at once.

    Attributes:
        start: (z, y, x) of its first voxel; may lie before the grid.
        side: Voxels along each edge.
        core: Half-open box, inside the cube, of what this tile alone decides.
    """

    start: Triple
    side: int
    core: Box

    @property
    def box(self) -> Box:
        """All voxels of the tile."""
        z, y, x = (slice(start, start + self.side) for start in self.start)
        return z, y, x


def tile_starts(length: int, *, side: int, step: int) -> tuple[int, ...]:
    """Return the starts of the fewest tiles that cover an axis, evenly spread.

    Neighbouring starts are at most `step` apart. Tiles stay inside unless the
    axis is shorter than one tile; then there is one, at 0.

    Raises:
        ValueError: If a number is not positive or the step leaves gaps.

    Examples:
        >>> tile_starts(100, side=40, step=32)
        (0, 30, 60)
        >>> tile_starts(30, side=40, step=32)
        (0,)
    """
    if min(length, side, step) < 1 or step > side:
        msg = f"tiles need 1 <= step <= side and length >= 1, got {step=}, {side=}, {length=}"
        raise ValueError(msg)
    room = max(0, length - side)
    gaps = ceil(room / step)
    return tuple(i * room // gaps for i in range(gaps + 1)) if gaps else (0,)


def iter_tiles(
    box: Box, *, side: int, overlap: int, keep: Callable[[Box], bool] = lambda _core: True
) -> Iterator[Tile]:
    """Yield the tiles of a box in order of z, then y, then x.

    The cores of all tiles divide the box: each of its voxels lies in exactly one,
    at least `overlap // 2` voxels from the side of a tile towards its neighbour.
    A box shorter than a tile lies in the middle of it.

    Args:
        box: Half-open ranges (z, y, x) of grid voxels.
        side: Voxels along the edge of a tile.
        overlap: Voxels that neighbours share at least; less than `side`.
        keep: Told the core of a tile, says whether it is wanted.

    Raises:
        ValueError: If the overlap does not leave a step of at least one voxel.
    """
    if not 0 <= overlap < side:
        msg = f"the overlap of tiles must be 0 to {side - 1} voxels, got {overlap}"
        raise ValueError(msg)
    for parts in product(*(_along(axis, side=side, overlap=overlap) for axis in box)):
        core = (parts[0][1], parts[1][1], parts[2][1])
        if keep(core):
            yield Tile((parts[0][0], parts[1][0], parts[2][0]), side, core)


def _along(axis: slice, *, side: int, overlap: int) -> list[tuple[int, slice]]:
    """Return start and core range of each tile along one axis."""
    length = axis.stop - axis.start
    if length < 1:
        return []
    if length <= side:
        return [(axis.start + (length - side) // 2, axis)]
    starts = [axis.start + s for s in tile_starts(length, side=side, step=side - overlap)]
    inner = [(a + side + b) // 2 for a, b in pairwise(starts)]
    edges = [axis.start, *inner, axis.stop]
    return [(s, slice(a, b)) for s, (a, b) in zip(starts, pairwise(edges), strict=True)]
