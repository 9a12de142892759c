"""Stored voxels become HU: told from labels and grey images first, then read box by box."""

from __future__ import annotations

import numpy as np

from medvit.errors import ReadError
from medvit.io.planes import rescale_into
from medvit.io.volumes.grid import NOT_HU_HINT, StoredGrid
from medvit.io.volumes.stored_voxels import Voxels
from medvit.volume.volume import Hu, Volume

SAMPLED_PLANES = 5
"""Planes looked at, evenly spread and the last one, to tell HU from labels and grey values."""

HU_MUST_REACH = 0.0
"""A CT volume holds values below this (air, lung, fat); label maps and grey images do not."""


def check_hu(grid: StoredGrid, voxels: Voxels) -> None:
    """Refuse voxels that are no HU by a look at a few planes, the last among them.

    Raises:
        ReadError: `not_hu`, or what reading gives: the last plane tells whether all are there.
    """
    columns, rows, count = grid.header.lengths
    numbers = np.unique(np.linspace(count - 1, 0, SAMPLED_PLANES, endpoint=False).round())
    lowest = np.inf
    for plane in voxels.planes([int(n) for n in numbers], slice(0, rows), slice(0, columns)):
        with np.errstate(over="ignore", invalid="ignore"):
            values = plane.astype(np.float64) * grid.header.slope + grid.header.intercept
        lowest = min(lowest, float(np.min(values)))
    if not lowest < HU_MUST_REACH:
        name = grid.header.path.name
        msg = f"{name}: the lowest value is {lowest:g}, CT goes below {HU_MUST_REACH:g} HU"
        raise ReadError(msg, reason="not_hu", hint=NOT_HU_HINT)


def volume_over(grid: StoredGrid, voxels: Voxels) -> Volume:
    """Return a volume whose boxes are read when they are asked for."""
    slope, intercept = grid.header.slope, grid.header.intercept

    def read_block(z: slice, y: slice, x: slice) -> Hu:
        slowest, rows, columns = grid.stored_box((z, y, x))
        numbers = range(slowest.start, slowest.stop)
        shape = (len(numbers), rows.stop - rows.start, columns.stop - columns.start)
        hu = np.empty(shape, np.float32)
        # Voxels that are too large for float32 become infinite here, and are refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            for row, plane in enumerate(voxels.planes(numbers if hu.size else (), rows, columns)):
                rescale_into(hu[row], plane, slope=slope, intercept=intercept)
        return grid.turned(_finite(hu, grid))

    return Volume(grid.shape, grid.affine_lps, read_block)


def _finite(hu: Hu, grid: StoredGrid) -> Hu:
    if grid.header.dtype.kind == "f" and not np.isfinite(hu).all():
        count = int((~np.isfinite(hu)).sum())
        msg = f"{grid.header.path.name}: {count} voxels are not finite numbers"
        raise ReadError(msg, reason="bad_value", hint="replace them, with -1024 for air")
    return hu
