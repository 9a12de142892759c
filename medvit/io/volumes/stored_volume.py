"""Stored voxels become HU: told from labels and grey images first, then read box by box."""

from __future__ import annotations

import numpy as np

from medvit.errors import ReadError
from medvit.io.planes import Plane, rescale_into
from medvit.io.volumes.grid import NOT_HU_HINT, StoredGrid, StoredHeader
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
    columns, rows, _ = grid.header.lengths
    look = HuLook(grid.header)
    for plane in voxels.planes(look.numbers, slice(0, rows), slice(0, columns)):
        look.take(plane)
    look.judge()


class HuLook:
    """A look at a few planes of a volume, from which HU are told from labels and grey values."""

    def __init__(self, header: StoredHeader) -> None:
        count = header.lengths[2]
        numbers = np.unique(np.linspace(count - 1, 0, SAMPLED_PLANES, endpoint=False).round())
        self._header = header
        self._lowest = np.inf
        self.numbers = [int(number) for number in numbers]

    def take(self, plane: Plane) -> None:
        """Look at one of the planes, as it is stored."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = plane.astype(np.float64) * self._header.slope + self._header.intercept
        self._lowest = min(self._lowest, float(np.min(values)))

    def judge(self) -> None:
        """Refuse what was seen if it is no HU.

        Raises:
            ReadError: `not_hu`.
        """
        if not self._lowest < HU_MUST_REACH:
            name, lowest = self._header.path.name, self._lowest
            msg = f"{name}: the lowest value is {lowest:g}, CT goes below {HU_MUST_REACH:g} HU"
            raise ReadError(msg, reason="not_hu", hint=NOT_HU_HINT)


def volume_over(grid: StoredGrid, voxels: Voxels, *, is_plain: bool = False) -> Volume:
    """Return a volume whose boxes are read when they are asked for.

    Args:
        is_plain: Whether the voxels can be entered anywhere, as `Volume` means it.
    """
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

    return Volume(grid.shape, grid.affine_lps, read_block, is_plain=is_plain)


def _finite(hu: Hu, grid: StoredGrid) -> Hu:
    if grid.header.dtype.kind == "f" and not np.isfinite(hu).all():
        count = int((~np.isfinite(hu)).sum())
        msg = f"{grid.header.path.name}: {count} voxels are not finite numbers"
        raise ReadError(msg, reason="bad_value", hint="replace them, with -1024 for air")
    return hu
