"""Boxes of a grid in slabs, each read from a bounded part of the source."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from medvit.volume.region import Box
from medvit.volume.resample import VoxelGrid

SOURCE_BYTES = 2**25
"""Source voxels, four bytes each, that one slab is made from; one slice may take more."""


def iter_slabs(box: Box, grid: VoxelGrid, *, source_bytes: int = SOURCE_BYTES) -> Iterator[Box]:
    """Yield a box of grid voxels from bottom to top, in slabs of a bounded part of the source.

    Examples:
        >>> import numpy as np
        >>> from medvit.volume.volume import volume_of
        >>> grid = VoxelGrid.of(volume_of(np.zeros((8, 4, 4)), np.eye(4)), 2.0)
        >>> box = (slice(0, 4), slice(0, 2), slice(0, 2))
        >>> [slab[0] for slab in iter_slabs(box, grid, source_bytes=300)]
        [slice(0, 2, None), slice(2, 4, None)]
    """
    z, y, x = box
    share = (y.stop - y.start) * (x.stop - x.start) / prod(grid.shape[1:])
    slice_bytes = share * 4 * prod(grid.volume.shape) / grid.shape[0]
    step = max(1, int(source_bytes / max(1.0, slice_bytes)))
    for start in range(z.start, z.stop, step):
        yield slice(start, min(start + step, z.stop)), y, x
