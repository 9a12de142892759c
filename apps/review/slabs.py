"""Voxels that were read for the viewers: slabs of slices as int16 HU, kept within a budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import numpy.typing as npt

from medvit.volume.volume import Volume

KEPT_BYTES = 128 * 1024 * 1024
"""Budget for the slabs of all opened scans together."""

SLAB_BYTES = 32 * 1024 * 1024
"""Neighbours that are read with a slice, and kept, take at most this much."""

MOST_DEEP = 64
"""Chunks of a pyramid are so many voxels wide: more slices would be further chunks."""

PIECE_BYTES = 8 * 1024 * 1024
"""Most that is held as float32 while a slab is read."""

NO_VALUE = np.int16(-32768)
"""What stands for voxels that are not a number; the least HU sent is one more."""

Hu16 = npt.NDArray[np.int16]


class SlabShelf:
    """Slabs by key, the least recently used thrown out first; each is read by one thread.

    Args:
        budget_bytes: For all slabs together; the newest one stays whatever its size.
    """

    def __init__(self, budget_bytes: int = KEPT_BYTES) -> None:
        self._budget = budget_bytes
        self._slabs: OrderedDict[Hashable, Hu16] = OrderedDict()
        self._reading: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the slabs kept now."""
        with self._lock:
            return sum(slab.nbytes for slab in self._slabs.values())

    def get(self, key: Hashable, read: Callable[[], Hu16]) -> Hu16:
        """Return a slab; `read` is called only when it is not kept.

        Raises:
            ReadError: As `read` does; nothing is kept then.
        """
        with self._lock:
            turn = self._reading.setdefault(key, threading.Lock())
        with turn:
            found = self._find(key)
            try:
                return self._keep(key, read()) if found is None else found
            finally:
                with self._lock:
                    self._reading.pop(key, None)

    def _find(self, key: Hashable) -> Hu16 | None:
        with self._lock:
            if key in self._slabs:
                self._slabs.move_to_end(key)
            return self._slabs.get(key)

    def _keep(self, key: Hashable, slab: Hu16) -> Hu16:
        with self._lock:
            self._slabs[key] = slab
            held = sum(each.nbytes for each in self._slabs.values())
            while held > self._budget and len(self._slabs) > 1:
                held -= self._slabs.popitem(last=False)[1].nbytes
        return slab


def slab_depth(shape: tuple[int, int, int], axis: int) -> int:
    """Return how many slices across an axis are read at once.

    For a slice across the stack all files are opened, and of a pyramid whole chunks are
    unpacked: its neighbours cost next to nothing more.

    Examples:
        >>> slab_depth((500, 512, 512), 1), slab_depth((2000, 1024, 1024), 2)
        (64, 8)
    """
    plane_bytes = 2 * int(np.prod(shape, dtype=np.int64)) // shape[axis]
    return int(np.clip(SLAB_BYTES // plane_bytes, 1, MOST_DEEP))


def read_slab(volume: Volume, axis: int, start: int, stop: int) -> Hu16:
    """Read slices `start` to `stop` across an axis, as int16 HU in source axis order."""
    box = [slice(0, length) for length in volume.shape]
    box[axis] = slice(start, stop)
    lengths = [part.stop - part.start for part in box]
    out = np.empty(lengths, np.int16)
    piece = max(1, PIECE_BYTES // (4 * lengths[1] * lengths[2]))
    for first in range(0, lengths[0], piece):
        last = min(first + piece, lengths[0])
        z = slice(box[0].start + first, box[0].start + last)
        out[first:last] = as_int16(volume.read(z, box[1], box[2]))
    return out


def as_int16(hu: npt.NDArray[np.float32]) -> Hu16:
    """Round HU to whole numbers, cut off what 16 bits cannot hold, mark what is no number."""
    limits = np.iinfo(np.int16)
    rounded = np.clip(np.rint(hu), limits.min + 1, limits.max)
    rounded[np.isnan(rounded)] = NO_VALUE
    return rounded.astype(np.int16)
