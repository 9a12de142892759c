"""Opened volumes: each is opened once, and what was read of it is kept within a budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medvit.volume.volume import Volume

KEPT_BYTES = 256 * 1024 * 1024
"""Budget for int16 voxels of all opened volumes together: a 512x512x512 scan."""

CHUNK = 8
"""Slices read at a time when a plane needs all of them; axial requests get in between."""

Hu16 = npt.NDArray[np.int16]


class SlicePile:
    """A volume with the slices that were read so far, as int16 HU.

    Args:
        volume: Read slice by slice, on demand.
        keep: Whether voxels stay in memory; a volume over the budget is read anew each time.
    """

    def __init__(self, volume: Volume, *, keep: bool) -> None:
        self.volume = volume
        self._lock = threading.Lock()
        self._read = np.zeros(volume.shape[0], dtype=bool)
        self._kept = np.empty(volume.shape, dtype=np.int16) if keep else None

    @property
    def nbytes(self) -> int:
        """Bytes the kept voxels take when all are read."""
        return 0 if self._kept is None else self._kept.nbytes

    def slice_at(self, axis: int, index: int) -> Hu16:
        """Return one slice in source axis order.

        Raises:
            IndexError: If the volume has no such axis or slice.
            ReadError: If the file behind the slice cannot be read.
        """
        if axis not in (0, 1, 2) or not 0 <= index < self.volume.shape[axis]:
            msg = f"axis {axis} of a volume of shape {self.volume.shape} has no slice {index}"
            raise IndexError(msg)
        box = [slice(None)] * 3
        box[axis] = slice(index, index + 1)
        if self._kept is None:
            return _as_int16(self.volume.read(box[0], box[1], box[2])).squeeze(axis)
        self._fill(index if axis == 0 else None)
        return self._kept[tuple(box)].squeeze(axis)

    def _fill(self, only: int | None) -> None:
        starts = [only] if only is not None else range(0, self.volume.shape[0], CHUNK)
        for start in starts:
            stop = start + 1 if only is not None else min(start + CHUNK, self.volume.shape[0])
            with self._lock:
                if not self._read[start:stop].all():
                    self._load(start, stop)

    def _load(self, start: int, stop: int) -> None:
        if self._kept is None:
            return
        whole = slice(None)
        self._kept[start:stop] = _as_int16(self.volume.read(slice(start, stop), whole, whole))
        self._read[start:stop] = True


class VolumeShelf:
    """The last opened volumes, as many as fit the budget.

    Args:
        budget_bytes: For the voxels of all piles together.
    """

    def __init__(self, budget_bytes: int = KEPT_BYTES) -> None:
        self._budget = budget_bytes
        self._piles: OrderedDict[str, SlicePile] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}

    def get(self, case_id: str, open_it: Callable[[], Volume]) -> SlicePile:
        """Return the pile of a case; `open_it` is called only when it is not open yet.

        Raises:
            ReadError: As `open_it` does; nothing is kept then.
        """
        with self._lock:
            turn = self._opening.setdefault(case_id, threading.Lock())
        with turn:
            found = self._find(case_id)
            return found if found is not None else self._put(case_id, open_it())

    def _find(self, case_id: str) -> SlicePile | None:
        with self._lock:
            if case_id in self._piles:
                self._piles.move_to_end(case_id)
            return self._piles.get(case_id)

    def _put(self, case_id: str, volume: Volume) -> SlicePile:
        nbytes = 2 * int(np.prod(volume.shape, dtype=np.int64))
        pile = SlicePile(volume, keep=nbytes <= self._budget)
        with self._lock:
            self._piles[case_id] = pile
            while len(self._piles) > 1 and self._held() > self._budget:
                self._piles.popitem(last=False)
            self._opening.pop(case_id, None)
        return pile

    def _held(self) -> int:
        return sum(pile.nbytes for pile in self._piles.values())


def _as_int16(hu: npt.NDArray[np.float32]) -> Hu16:
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(hu), limits.min, limits.max).astype(np.int16)
