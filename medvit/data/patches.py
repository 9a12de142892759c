"""Random patches, read straight from where the scans lie: no volume is ever held whole.

Case -> Foreground; (seed, number) -> PatchDraw -> box of an VoxelGrid -> patch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset

from medvit.data.draws import DrawKey, Phase
from medvit.data.foreground import Foreground
from medvit.errors import InputError, ReadError
from medvit.geometry import Affine, Triple, lps_to_index
from medvit.io.case import Case
from medvit.io.pyramids import open_pyramid
from medvit.io.readers import open_volume
from medvit.io.scratch import UNTIL_EXIT, Scratch
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Hu, Volume

MOST_OPEN = 8
"""Cases that a process keeps open. An open case holds headers and a few slices, no voxels."""


class OpenCases:
    """Cases at any spacing, opened when first read; each process opens its own.

    With a workspace's scratch they are pyramids, and a coarse patch reads a coarse level.
    Pickling it for a worker process leaves what is open behind.

    Args:
        scratch: Where pyramids and decoded parts are kept between processes and runs.
        most_open: The least recently read is closed beyond this number.
    """

    def __init__(
        self, cases: Sequence[Case], *, scratch: Scratch = UNTIL_EXIT, most_open: int = MOST_OPEN
    ) -> None:
        self.cases = tuple(cases)
        self.scratch = scratch
        self.most_open = most_open
        self._open: OrderedDict[int, _OpenCase] = OrderedDict()

    def __len__(self) -> int:
        return len(self.cases)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def volume(self, case: int, spacing_mm: float = 0.0) -> Volume:
        """Return a case to be resampled to a spacing; as it was stored for 0.

        Raises:
            ReadError: If the case cannot be opened.
        """
        return self._opened(case).level_for(spacing_mm)

    def grid(self, case: int, spacing_mm: float) -> VoxelGrid:
        """Return a case seen at a spacing.

        Raises:
            ReadError: If the case cannot be opened.
        """
        grids = self._opened(case).grids
        if spacing_mm not in grids:
            grids[spacing_mm] = VoxelGrid.of(self.volume(case, spacing_mm), spacing_mm)
        return grids[spacing_mm]

    def _opened(self, case: int) -> _OpenCase:
        if case not in self._open:
            self._open[case] = _OpenCase(_level_chooser(self.cases[case], self.scratch))
            while len(self._open) > self.most_open:
                self._open.popitem(last=False)
        self._open.move_to_end(case)
        return self._open[case]


@dataclass(frozen=True, slots=True, eq=False)
class _OpenCase:
    level_for: Callable[[float], Volume]
    grids: dict[float, VoxelGrid] = field(default_factory=dict)


def _level_chooser(case: Case, scratch: Scratch) -> Callable[[float], Volume]:
    """Open a case; without a place for pyramids it would be held in memory as one."""
    if scratch.pyramids is None:
        volume = open_volume(case, scratch=scratch)
        return lambda _spacing_mm: volume
    pyramid = open_pyramid(case, scratch=scratch)
    return lambda spacing_mm: pyramid.level_for(spacing_mm) if spacing_mm else pyramid.levels[0]


@dataclass(frozen=True, slots=True, eq=False)
class CaseGrid:
    """One case at one spacing; opened when something of it is first asked for."""

    cases: OpenCases
    case: int
    side_mm: float

    @property
    def grid(self) -> VoxelGrid:
        """The open grid."""
        return self.cases.grid(self.case, self.side_mm)

    @property
    def spacing_mm(self) -> Triple:
        """Edges of a voxel along (z, y, x), all equal."""
        return (self.side_mm,) * 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of the grid."""
        return self.grid.shape

    @property
    def affine_lps(self) -> Affine:
        """4x4, maps (z, y, x, 1) of the grid to (x, y, z, 1) in LPS mm."""
        return self.grid.affine_lps

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return a box in HU; the part of it beyond the grid is air."""
        return self.grid.read(z, y, x)


class Readable(Protocol):
    """What a part is cut from."""

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return a box in HU; bounds may lie beyond either end."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A box of a larger source, counted from its own corner.

    Attributes:
        source: A read may reach out of the part into the rest of it.
        start: Corner (z, y, x) in the source.
        shape: Voxels (z, y, x).
    """

    source: Readable
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return a box in HU."""
        there = (
            slice(s.start + first, s.stop + first)
            for s, first in zip((z, y, x), self.start, strict=True)
        )
        return self.source.read(*there)


@dataclass(frozen=True, slots=True)
class PatchDraw:
    """Which patch: all that is random about it.

    Attributes:
        case: Number of the case.
        centre_lps_mm: Where the patch is centred, (x, y, z); it moves inside where it
            would reach over the end of a scan that is long enough.
        spacing_mm: Side of a voxel.
        side: Voxels on a side.
    """

    case: int
    centre_lps_mm: tuple[float, float, float]
    spacing_mm: float
    side: int


def draw_patch(
    rng: np.random.Generator,
    foregrounds: Sequence[Foreground],
    *,
    phase: Phase,
    lungs_share: float,
) -> PatchDraw:
    """Draw a case, each as likely as another, and a place in its body or lungs."""
    case = int(rng.integers(len(foregrounds)))
    centre = foregrounds[case].draw_centre(rng, lungs_share=lungs_share)
    return PatchDraw(case, centre, phase.spacing_mm, phase.side)


def patch_box(grid: VoxelGrid, draw: PatchDraw) -> tuple[slice, slice, slice]:
    """Return the box of grid voxels that a draw means."""
    centre = lps_to_index(grid.affine_lps, draw.centre_lps_mm)
    starts = (
        _start(middle, draw.side, length)
        for middle, length in zip(centre.tolist(), grid.shape, strict=True)
    )
    z, y, x = (slice(start, start + draw.side) for start in starts)
    return z, y, x


def _start(middle: float, side: int, length: int) -> int:
    if length < side:
        return -((side - length) // 2)
    return min(max(round(middle - (side - 1) / 2), 0), length - side)


class VolumePatches(Dataset[Hu]):
    """Patches in HU: item (phase, number) is the same whenever and wherever it is read.

    A worker process holds two masks of 1 bit in 6 mm for each case, `MOST_OPEN` open
    cases, and the source boxes of the one patch it reads: nothing grows with a volume.

    Args:
        foregrounds: One for each case, found beforehand.
        phases: Resolutions by number; `DrawKey.phase` chooses.
    """

    def __init__(
        self,
        cases: OpenCases,
        foregrounds: Sequence[Foreground],
        *,
        phases: Sequence[Phase],
        lungs_share: float,
        seed: int,
    ) -> None:
        if not len(cases) or len(cases) != len(foregrounds):
            msg = (
                f"patches need cases, each with a foreground; got {len(cases)}, {len(foregrounds)}"
            )
            raise ValueError(msg)
        self.cases = cases
        self.foregrounds = tuple(foregrounds)
        self.phases = tuple(phases)
        self.lungs_share = lungs_share
        self.seed = seed

    def draw(self, key: DrawKey) -> PatchDraw:
        """Return what item `key` is, without reading."""
        rng = np.random.default_rng((self.seed, key.number))
        return draw_patch(
            rng, self.foregrounds, phase=self.phases[key.phase], lungs_share=self.lungs_share
        )

    def __getitem__(self, key: DrawKey) -> Hu:
        """Return a patch (side, side, side) in HU; what lies beyond the scan is air.

        Raises:
            InputError: If the case can no longer be read; the message names it.
        """
        draw = self.draw(key)
        try:
            grid = self.cases.grid(draw.case, draw.spacing_mm)
            return grid.read(*patch_box(grid, draw))
        except ReadError as error:
            case = self.cases.cases[draw.case]
            msg = f"{case.source}: a case became unreadable in training ({error.message})"
            raise InputError(msg, hint="restore the file, or leave the case out") from error
