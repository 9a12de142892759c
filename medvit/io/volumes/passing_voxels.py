"""Packed voxels that are read once from the first plane to the last, and judged on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medvit.io.planes import Plane
from medvit.io.volumes.grid import StoredGrid, StoredHeader
from medvit.io.volumes.stored_volume import HuLook
from medvit.io.volumes.stored_voxels import iter_chunks
from medvit.io.volumes.voxel_file import VoxelFile


class PassingVoxels:
    """Packed voxels that cost one unpacking when planes are asked for in rising order.

    Nothing is kept but the place in the stream: a plane that lies behind starts it anew.
    The planes that opening looks at elsewhere are looked at in passing, so the last plane
    may bring a refusal. For one thread.
    """

    def __init__(self, header: StoredHeader, file: VoxelFile) -> None:
        self._header = header
        self._file = file
        self._begin()

    def planes(self, numbers: Sequence[int], rows: slice, columns: slice) -> Iterator[Plane]:
        """Yield parts of planes.

        Raises:
            ReadError: `not_hu` with the last plane, or the reason why there are none.
        """
        for number in numbers:
            if number < self._next:
                self._begin()
            while self._next < number:
                self._step()
            yield self._step()[rows, columns]

    def _begin(self) -> None:
        self._coming = self._all()
        self._look = HuLook(self._header)
        self._next = 0

    def _step(self) -> Plane:
        plane = next(self._coming)
        if self._next in self._look.numbers:
            self._look.take(plane)
        self._next += 1
        if self._next == self._header.lengths[2]:
            next(self._coming, None)  # the file is closed, if it is still the same
            self._look.judge()
        return plane

    def _all(self) -> Iterator[Plane]:
        for _, chunk in iter_chunks(self._header, self._file):
            yield from chunk


def passes_forward(grid: StoredGrid) -> bool:
    """Return whether slices of a volume lie in its file one behind the other."""
    return grid.axes[0] == 2 and not grid.is_flipped[0]
