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
        number: Its place among all tiles of the layout, in order of z, y, x.
    """

    start: Triple
    side: int
    core: Box
    number: int = 0

    @property
    def box(self) -> Box:
        """All voxels of the tile."""
        z, y, x = (slice(start, start + self.side) for start in self.start)
        return z, y, x


@dataclass(frozen=True, slots=True)
class TileForm:
    """How large tiles are and how they lie.

    Attributes:
        side: Voxels along the edge of a tile.
        overlap: Voxels that neighbours share at least; less than `side`.
        align: Starts, and borders between cores, are multiples of it: the stride of the
            network, so that the cells of all its maps fall on one grid.

    Raises:
        ValueError: If there is no step, or steps and sides are no multiples of `align`.
    """

    side: int = 96
    overlap: int = 24
    align: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.side:
            msg = f"the overlap of tiles must be 0 to {self.side - 1} voxels, got {self.overlap}"
            raise ValueError(msg)
        if self.align < 1 or self.side % self.align or self.overlap % self.align:
            msg = f"side and overlap must be multiples of align, got {self}"
            raise ValueError(msg)


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
    box: Box,
    *,
    side: int,
    overlap: int,
    align: int = 1,
    keep: Callable[[Box], bool] = lambda _core: True,
) -> Iterator[Tile]:
    """Yield the tiles of a box in order of z, then y, then x.

    The cores of all tiles divide the box: each of its voxels lies in exactly one,
    at least half the overlap, rounded down to `align`, from the side of a tile towards
    its neighbour. A box shorter than a tile lies in the middle of it.

    Args:
        box: Half-open ranges (z, y, x) of grid voxels.
        side: Voxels along the edge of a tile.
        overlap: Voxels that neighbours share at least; less than `side`.
        align: As in `TileForm`.
        keep: Told the core of a tile, says whether it is wanted.

    Raises:
        ValueError: As `TileForm`.
    """
    form = TileForm(side, overlap, align)
    places = product(*(tiles_along(axis, form) for axis in box))
    for number, ((z, z_core), (y, y_core), (x, x_core)) in enumerate(places):
        core = (z_core, y_core, x_core)
        if keep(core):
            yield Tile((z, y, x), side, core, number)


def tiles_along(axis: slice, form: TileForm) -> list[tuple[int, slice]]:
    """Return start and core range of the fewest tiles that cover a range of voxels.

    Examples:
        >>> tiles_along(slice(3, 133), TileForm(side=96, overlap=24, align=8))
        [(0, slice(3, 64, None)), (40, slice(64, 133, None))]
    """
    side, align = form.side, form.align
    if axis.stop <= axis.start:
        return []
    first = axis.start // align * align
    last = ceil((axis.stop - side) / align) * align
    if last <= first:
        middle = (axis.start + axis.stop - side) // 2
        return [(min(max(middle // align * align, last), first), axis)]
    step = side - form.overlap
    units = tile_starts((last - first + side) // align, side=side // align, step=step // align)
    starts = [first + align * unit for unit in units]
    inner = [(a + side + b) // 2 // align * align for a, b in pairwise(starts)]
    edges = [axis.start, *inner, axis.stop]
    return [(s, slice(a, b)) for s, (a, b) in zip(starts, pairwise(edges), strict=True)]
