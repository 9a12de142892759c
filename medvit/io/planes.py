"""A small memory of decoded image planes, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]

CACHE_BYTES = 256 * 1024 * 1024
"""Default room for decoded planes of one volume: 512 slices of 512x512 at 16 bit."""


class PlaneCache:
    """Planes by number, decoded on demand; the least recently used go first.

    Safe to share between threads; two threads that miss the same plane at the
    same time both decode it.
    """

    def __init__(self, decode: Callable[[int], Plane], *, max_bytes: int = CACHE_BYTES) -> None:
        self._decode = decode
        self._max_bytes = max_bytes
        self._planes: OrderedDict[int, Plane] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the planes kept now."""
        return self._held_bytes

    def plane(self, number: int) -> Plane:
        """Return one plane as stored; the array is shared and read-only."""
        with self._lock:
            if number in self._planes:
                self._planes.move_to_end(number)
                return self._planes[number]
        plane = self._decode(number)
        plane.setflags(write=False)
        self._keep(number, plane)
        return plane

    def _keep(self, number: int, plane: Plane) -> None:
        with self._lock:
            if number in self._planes or plane.nbytes > self._max_bytes:
                return
            self._planes[number] = plane
            self._held_bytes += plane.nbytes
            while self._held_bytes > self._max_bytes:
                _, dropped = self._planes.popitem(last=False)
                self._held_bytes -= dropped.nbytes


def rescale_into(
    out: npt.NDArray[np.float32], plane: Plane, *, slope: float, intercept: float
) -> None:
    """Write `plane * slope + intercept` into `out`."""
    np.multiply(plane, np.float32(slope), out=out, casting="unsafe")
    out += np.float32(intercept)
