"""A volume poured slab by slab down the levels of its pyramid, in threads beside its decoding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from medvit.io.writing.slabs import SLAB_BYTES, WHOLE, Progress, as_type, iter_slabs
from medvit.volume.levels import Kind, Level, Slab
from medvit.volume.levels import halve as halved_slab
from medvit.volume.volume import Hu, Volume

DEEPEST_SLAB = 64

PIECES = 4
"""In how many pieces a slab is read, so that there is work for others before it is whole."""

WAITING = 1
"""How many slabs wait for the thread that takes them; reading stops when there are more."""


class Target(Protocol):
    """What slabs are stored in: an array of zarr, or of numpy."""

    def __setitem__(self, slices: slice, slab: Slab, /) -> None:
        """Store slices."""


@dataclass(slots=True)
class Basin:
    """One level that is filled along z.

    Attributes:
        depth: Slices that are stored together.
        targets: Where voxels go; the finest level has its own under `mean`.
        start: Slices stored so far; `held` those that wait in `parts` beside them.
        used: Memory of slices that are being stored, or are by now.
    """

    level: Level
    depth: int
    targets: Mapping[Kind, Target]
    start: int = 0
    held: int = 0
    parts: dict[Kind, Slab] = field(default_factory=dict)
    used: list[tuple[list[Future[None]], dict[Kind, Slab]]] = field(default_factory=list)

    def add(self, parts: Mapping[Kind, Slab]) -> bool:
        """Add slices; return whether there are enough to be stored."""
        count = len(next(iter(parts.values())))
        total, height, width = self.level.shape
        if not self.parts:
            self.parts = self._stored_by_now() or {
                kind: np.empty((min(self.depth, total), height, width), part.dtype)
                for kind, part in parts.items()
            }
        for kind, part in parts.items():
            self.parts[kind][self.held : self.held + count] = part
        self.held += count
        return self.held == min(self.depth, total - self.start)

    def full(self) -> tuple[slice, dict[Kind, Slab]]:
        """Return the slices that wait, and their place."""
        place = slice(self.start, self.start + self.held)
        parts = {kind: part[: self.held] for kind, part in self.parts.items()}
        return place, parts

    def renew(self, storing: list[Future[None]]) -> None:
        """Make room for the next slices; the memory of these is free when they are stored."""
        self.used.append((storing, self.parts))
        self.start, self.held, self.parts = self.start + self.held, 0, {}

    def _stored_by_now(self) -> dict[Kind, Slab] | None:
        """Return memory that is used no more: new memory costs more than what fills it."""
        for number, (storing, _) in enumerate(self.used):
            if all(future.done() for future in storing):
                return self.used.pop(number)[1]
        return None


def slab_depth(shape: tuple[int, int, int], slab_bytes: int = SLAB_BYTES) -> int:
    """Return how many slices of a level are stored at once: a power of two, at least 2.

    Examples:
        >>> slab_depth((400, 512, 512)), slab_depth((400, 2048, 2048))
        (64, 4)
    """
    depth = DEEPEST_SLAB
    while depth > 2 and depth * shape[1] * shape[2] * 4 > slab_bytes:
        depth //= 2
    return depth


def slab_depths(levels: Sequence[Level], slab_bytes: int = SLAB_BYTES) -> list[int]:
    """Return the slices of a slab of each level; those of the coarser ones take a quarter each.

    Depths do not fall, so that what a level passes on fits into a slab of the next.
    """
    depths = [slab_depth(levels[0].shape, slab_bytes)]
    for level in levels[1:]:
        depths.append(max(depths[-1], slab_depth(level.shape, slab_bytes // 4)))
    return depths


def pour_volume(
    volume: Volume,
    levels: Sequence[Level],
    targets: Sequence[Mapping[Kind, Target]],
    dtype: np.dtype[Any],
    *,
    progress: Progress | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> None:
    """Fill the levels of a pyramid of a volume, read once from its first slice to its last.

    Args:
        targets: For each level where it is stored, if it is; see `Basin`.
        dtype: What voxels are stored as, means rounded where it is int16.
        slab_bytes: Most that a slab of the finest level takes as float32.

    Raises:
        ReadError: If the volume cannot be read.
        OSError: If voxels cannot be stored.
    """
    depths = slab_depths(levels, slab_bytes)
    basins = [Basin(*each) for each in zip(levels, depths, targets, strict=True)]
    pour(iter_slabs(volume, max(2, depths[0] // PIECES), progress), basins, dtype)


def pour(pieces: Iterable[Hu], basins: list[Basin], dtype: np.dtype[Any]) -> None:
    """Fill the levels of a pyramid from its slices, in one pass and constant memory.

    The caller's thread reads the pieces, a second one makes of each what it means for
    the coarser levels, a third stores. What a level passes on is never rounded, so each
    voxel is rounded once at most.

    Args:
        pieces: Of the volume in order, each of an even number of slices that divides the
            depth of the finest level; the last may have fewer.
        basins: Of all levels, finest first, of depths that do not fall.
        dtype: What voxels are stored as, means rounded where it is int16.

    Raises:
        OSError: If voxels cannot be stored.
    """
    # An interruption waits here for the slab at hand, or the threads would go on to write
    # into a folder that is being removed.
    with ThreadPoolExecutor(1) as reducer, ThreadPoolExecutor(1) as writer:
        cascade = _Cascade(basins, dtype, writer)
        waiting: deque[Future[None]] = deque()
        for piece in pieces:
            waiting.append(reducer.submit(cascade.take, piece))
            del piece
            while len(waiting) > WAITING:
                waiting.popleft().result()
        for future in waiting:
            future.result()
        cascade.finish()


class _Cascade:
    """Levels that overflow into each other, and what is being stored of them."""

    def __init__(
        self, basins: list[Basin], dtype: np.dtype[Any], writer: ThreadPoolExecutor
    ) -> None:
        self._basins = basins
        self._dtype = dtype
        self._writer = writer
        self._storing: deque[Future[None]] = deque()
        self._kinds = {kind for basin in basins for kind in basin.targets}

    def take(self, hu: Hu) -> None:
        exact = as_type(hu, self._dtype)
        finest = self._basins[0]
        if finest.targets and finest.add({"mean": exact}):
            finest.renew(self._store(finest, *finest.full()))
        self._pass_on({kind: hu if kind == "mean" else exact for kind in self._kinds}, 1)

    def finish(self) -> None:
        while self._storing:
            self._storing.popleft().result()

    def _pass_on(self, parts: Mapping[Kind, Slab], number: int) -> None:
        """Add what slices of one level mean for the level of a number, and for those above."""
        if number == len(self._basins):
            return
        basin = self._basins[number]
        by = basin.level.halved
        if basin.add({kind: halved_slab(part, by, kind) for kind, part in parts.items()}):
            place, full = basin.full()
            storing = self._store(basin, place, full)
            self._pass_on(full, number + 1)
            basin.renew(storing)

    def _store(self, basin: Basin, place: slice, parts: Mapping[Kind, Slab]) -> list[Future[None]]:
        storing = []
        for kind, target in basin.targets.items():
            while len(self._storing) > WAITING:
                self._storing.popleft().result()
            storing.append(self._writer.submit(self._set, target, place, parts[kind]))
            self._storing.append(storing[-1])
        return storing

    def _set(self, target: Target, place: slice, slab: Slab) -> None:
        rounded = np.rint(slab).astype(WHOLE) if slab.dtype != self._dtype else slab
        target[place] = rounded
