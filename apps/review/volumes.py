"""Opened scans: slices of the stack out of their files, other planes out of the pyramid."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from apps.review.slabs import Hu16, SlabShelf, read_slab, slab_depth
from medvit.io.pyramids import hold_pyramid
from medvit.io.source import Source
from medvit.io.writing.slabs import Progress
from medvit.volume.levels import Level, plan_levels
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import Volume

OPEN_SCANS = 6
"""Scans that stay open: the one on the desk, its prior, those before and those to come."""

PATIENCE_S = 0.4
"""How long a request waits for a pyramid; a kept one is there by then."""

MOST_SLAB_SLICES = 512
"""Largest thickness of a slab that is asked for, in slices."""

BuildPyramid = Callable[[Source, Progress], Pyramid]


class PreparingError(Exception):
    """A plane cannot be shown yet: the pass over the scan has come so far.

    Attributes:
        share: Of the slices that were read, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        super().__init__(f"{share:.0%} of the slices are read")
        self.share = share


@dataclass(frozen=True, slots=True)
class Cut:
    """What a viewer shows of a scan.

    Attributes:
        axis: Source axis across which the slice lies.
        index: Of the slice, in voxels of the volume.
        level: Of the pyramid; 0 is the volume itself.
        slab: Slices of the volume whose largest values are shown, `index` in their middle.
    """

    axis: int
    index: int
    level: int = 0
    slab: int = 1


class SlicePile:
    """A scan of which slices are shown, in any plane and at any level.

    Args:
        source: Read on demand.
        slabs: Where what was read is kept, shared by all piles.
        build: Makes or finds the pyramid; called once, when a plane needs it, by a thread.
    """

    _numbers = count()

    def __init__(self, source: Source, slabs: SlabShelf, build: BuildPyramid | None = None) -> None:
        self.volume = source.volume
        self.levels: list[Level] = plan_levels(source.volume.shape, source.volume.affine_lps)
        self._slabs = slabs
        self._number = next(self._numbers)
        self._making = _Making(source, build or _in_memory)

    def cut(self, cut: Cut) -> Hu16:
        """Return a slice in source axis order, of the level's voxels.

        Raises:
            IndexError: If the volume has no such axis, slice, level or thickness.
            PreparingError: If the plane comes from the pyramid, which is being made.
            ReadError: If the files behind the slice cannot be read.
        """
        self._check(cut)
        factor, length = (each[cut.axis] for each in self._form(cut.level))
        half = (cut.slab - 1) // 2
        first = max(0, cut.index - half) // factor
        last = min(cut.index - half + cut.slab - 1, self.volume.shape[cut.axis] - 1) // factor
        volume = self._volume_of(cut)
        slices = self._slices(volume, cut, range(first, min(last, length - 1) + 1))
        out = next(slices).copy()
        for each in slices:
            np.maximum(out, each, out=out)
        return out

    def slice_at(self, axis: int, index: int) -> Hu16:
        """Return one slice of the volume itself; as `cut`."""
        return self.cut(Cut(axis, index))

    def _form(self, level: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return self.levels[level].factors, self.levels[level].shape

    def _check(self, cut: Cut) -> None:
        shape = self.volume.shape
        if cut.axis not in (0, 1, 2) or not 0 <= cut.index < shape[cut.axis]:
            msg = f"axis {cut.axis} of a volume of shape {shape} has no slice {cut.index}"
            raise IndexError(msg)
        if not 0 <= cut.level < len(self.levels):
            msg = f"the volume has levels 0 to {len(self.levels) - 1}, not {cut.level}"
            raise IndexError(msg)
        if not 1 <= cut.slab <= MOST_SLAB_SLICES:
            msg = f"a slab has 1 to {MOST_SLAB_SLICES} slices, not {cut.slab}"
            raise IndexError(msg)

    def _is_in_files(self, cut: Cut) -> bool:
        """Return whether a cut is read from the files: where nothing else is decoded for it.

        Slices of DICOM lie in files, or frames, of their own; of a packed volume file all
        is unpacked for one slice, while its pyramid holds the same voxels in pieces.
        """
        is_stack = cut.axis == 0 and bool(self.volume.origins)
        return cut.level == 0 and (is_stack or self.volume.is_plain)

    def _volume_of(self, cut: Cut) -> Volume:
        """Return the level that a cut goes through; of a slab the one of largest values."""
        if self._is_in_files(cut):
            return self.volume
        pyramid = self._making.wait(PATIENCE_S)
        if cut.level == 0 or cut.slab == 1:
            return pyramid.levels[cut.level]
        return pyramid.highs[cut.level - 1]

    def _slices(self, volume: Volume, cut: Cut, numbers: range) -> Iterator[Hu16]:
        is_alone = cut.axis == 0 and self._is_in_files(cut)
        depth = 1 if is_alone else slab_depth(volume.shape, cut.axis)
        kind = "high" if cut.level and cut.slab > 1 else "mean"
        for start in range(numbers.start // depth * depth, numbers.stop, depth):
            stop = min(start + depth, volume.shape[cut.axis])
            slab = self._slabs.get(
                (self._number, kind, cut.level, cut.axis, start),
                lambda start=start, stop=stop: read_slab(volume, cut.axis, start, stop),  # type: ignore[misc]
            )
            for number in range(max(start, numbers.start), min(stop, numbers.stop)):
                plane: Hu16 = np.take(slab, number - start, cut.axis)
                yield plane


class _Making:
    """A pyramid that a thread finds or makes, once it is asked for."""

    def __init__(self, source: Source, build: BuildPyramid) -> None:
        self._source, self._build = source, build
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._share = 0.0
        self._made: Pyramid | None = None
        self._failure: Exception | None = None

    def wait(self, seconds: float) -> Pyramid:
        """Return the pyramid.

        Raises:
            PreparingError: If it is not there in time.
            ReadError: If it cannot be made; the next call tries again.
        """
        with self._lock:
            if self._thread is None:
                self._ended.clear()
                self._failure = None
                self._thread = threading.Thread(target=self._run, name="pyramid", daemon=True)
                self._thread.start()
            asked = self._thread
        if not self._ended.wait(seconds):
            raise PreparingError(self._share)
        if self._made is not None:
            return self._made
        with self._lock:
            failure = self._failure
            if self._thread is asked:
                self._thread = None
        if failure is not None:
            raise failure
        raise PreparingError(0.0)  # another thread has just begun anew

    def _run(self) -> None:
        try:
            self._made = self._build(self._source, self._note)
        except Exception as error:  # raised again by `wait`, in the asking thread
            self._failure = error
        finally:
            self._ended.set()

    def _note(self, done: int, total: int) -> None:
        self._share = done / max(1, total)


class VolumeShelf:
    """The last opened scans.

    Args:
        most: How many stay open.
        slabs: What was read of them.
        build: As for `SlicePile`.
    """

    def __init__(
        self,
        most: int = OPEN_SCANS,
        slabs: SlabShelf | None = None,
        build: BuildPyramid | None = None,
    ) -> None:
        self._most, self._build = most, build
        self._slabs = slabs or SlabShelf()
        self._piles: OrderedDict[str, SlicePile] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._piles)

    def get(self, case_id: str, open_it: Callable[[], Source]) -> SlicePile:
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

    def _put(self, case_id: str, source: Source) -> SlicePile:
        pile = SlicePile(source, self._slabs, self._build)
        with self._lock:
            self._piles[case_id] = pile
            while len(self._piles) > self._most:
                self._piles.popitem(last=False)
            self._opening.pop(case_id, None)
        return pile


def _in_memory(source: Source, progress: Progress) -> Pyramid:
    progress(0, source.volume.shape[0])
    return hold_pyramid(source.volume)
