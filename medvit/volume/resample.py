"""An isotropic, axis-aligned view of a volume, resampled block by block on request."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import ceil

import numpy as np
from numpy.typing import NDArray

from medvit.geometry import Affine
from medvit.volume.volume import AIR_HU, Hu, Volume

PATIENT_ROW = (2, 1, 0)
"""Row of an LPS vector (x, y, z) that grid axis z, y, x runs along."""


@dataclass(frozen=True, slots=True)
class AxisTaps:
    """How one grid axis is made from one source axis.

    Attributes:
        source_axis: Axis of the source volume, 0 to 2.
        index: (n, k) source positions; each row is contiguous and inside the source.
        weight: (n, k) weights of those positions; each row sums to 1.
        position: (n,) centres of the grid voxels as fractional source positions.
    """

    source_axis: int
    index: NDArray[np.intp]
    weight: NDArray[np.float32]
    position: NDArray[np.float64]

    def source_range(self, span: slice) -> slice:
        """Return the half-open source range that the grid range `span` reads."""
        used = self.index[span]
        return slice(int(used.min()), int(used.max()) + 1)

    def apply(self, block: Hu, axis: int, span: slice) -> Hu:
        """Resample `axis` of `block`, which starts at this span's source range.

        Taps are added one by one in a fixed order, so a voxel's value does not
        depend on the block it was read with.
        """
        index = self.index[span] - self.source_range(span).start  # (m, k)
        weight = self.weight[span]  # (m, k)
        form = tuple(-1 if i == axis else 1 for i in range(block.ndim))
        total: Hu = block.take(index[:, 0], axis) * weight[:, 0].reshape(form)
        for k in range(1, index.shape[1]):
            total += block.take(index[:, k], axis) * weight[:, k].reshape(form)
        return total


def axis_positions(length: int, *, step_mm: float, spacing_mm: float) -> NDArray[np.float64]:
    """Return where grid voxels sit on a source axis, in source voxels.

    The grid has the whole number of voxels that covers the source best and
    shares its middle, so turning the source round turns the grid round.

    Examples:
        >>> axis_positions(4, step_mm=1.0, spacing_mm=2.0).tolist()
        [0.5, 2.5]
    """
    count = max(1, round(length * step_mm / spacing_mm))
    middle = (length - 1) / 2
    steps = np.arange(count, dtype=np.float64) - (count - 1) / 2
    return middle + steps * (spacing_mm / step_mm)


def axis_taps(
    length: int, *, step_mm: float, spacing_mm: float, source_axis: int, is_flipped: bool
) -> AxisTaps:
    """Build the linear filter of one axis; it widens when the axis is coarsened.

    A triangle of half-width `max(1, spacing_mm / step_mm)` source voxels:
    linear interpolation upwards, an antialiased mean downwards. At the ends the
    weights that remain are normalised.
    """
    position = axis_positions(length, step_mm=step_mm, spacing_mm=spacing_mm)
    if is_flipped:
        position = position[::-1].copy()
    radius = max(1.0, spacing_mm / step_mm)
    count = min(length, ceil(2 * radius))
    first = np.clip(np.floor(position - radius).astype(np.intp) + 1, 0, length - count)
    index = first[:, None] + np.arange(count)  # (n, k)
    weight = np.maximum(0.0, 1.0 - np.abs(index - position[:, None]) / radius)
    weight /= weight.sum(axis=1, keepdims=True)
    return AxisTaps(source_axis, index, weight.astype(np.float32), position)


def nearest_axes(affine_lps: Affine) -> tuple[int, int, int]:
    """Return the source axis that runs nearest to the patient's z, y and x axis.

    Examples:
        >>> nearest_axes(np.diag([1.0, 1.0, 1.0, 1.0]))
        (2, 1, 0)
    """
    steps = affine_lps[:3, :3] / np.linalg.norm(affine_lps[:3, :3], axis=0)
    cosine = np.abs(steps[list(PATIENT_ROW)])  # (grid axis, source axis)

    def alignment(axes: tuple[int, ...]) -> float:
        return float(sum(cosine[grid, source] for grid, source in enumerate(axes)))

    z, y, x = max(permutations(range(3)), key=alignment)
    return z, y, x


@dataclass(frozen=True, slots=True)
class IsotropicGrid:
    """A volume seen with cubic voxels: z to superior, y to posterior, x to left.

    The axes are the source's own, put in order and turned where needed; a volume
    that lies oblique stays so, and `affine_lps` says how.

    Attributes:
        volume: The source; blocks of it are read on request.
        spacing_mm: Edge of a grid voxel.
        shape: (z, y, x) voxels of the grid.
        affine_lps: 4x4, maps (z, y, x, 1) of the grid to (x, y, z, 1) in LPS mm.
        taps: The filters of the grid's z, y and x axis.
    """

    volume: Volume
    spacing_mm: float
    shape: tuple[int, int, int]
    affine_lps: Affine
    taps: tuple[AxisTaps, AxisTaps, AxisTaps]

    @classmethod
    def of(cls, volume: Volume, spacing_mm: float = 1.0) -> IsotropicGrid:
        """Lay a grid over a volume without reading any of it.

        Raises:
            ValueError: If the spacing is not positive, or finite.
        """
        if not (np.isfinite(spacing_mm) and spacing_mm > 0):
            msg = f"grid spacing must be positive and finite, got {spacing_mm} mm"
            raise ValueError(msg)
        steps_mm = volume.spacing_mm
        source = volume.affine_lps[:3, :3]

        def taps_along(grid_axis: int, source_axis: int) -> AxisTaps:
            return axis_taps(
                volume.shape[source_axis],
                step_mm=steps_mm[source_axis],
                spacing_mm=spacing_mm,
                source_axis=source_axis,
                is_flipped=bool(source[PATIENT_ROW[grid_axis], source_axis] < 0),
            )

        z, y, x = (
            taps_along(grid, axis) for grid, axis in enumerate(nearest_axes(volume.affine_lps))
        )
        shape = (len(z.position), len(y.position), len(x.position))
        return cls(
            volume, spacing_mm, shape, _grid_affine(volume, (z, y, x), spacing_mm), (z, y, x)
        )

    def read(self, z: slice, y: slice, x: slice) -> Hu:
        """Return one box in HU; the part of it beyond the grid is `AIR_HU`.

        Args:
            z: Half-open range with start and stop given; a negative start lies
                before the grid and does not count from its end.
            y: As `z`.
            x: As `z`.
        """
        asked = (z, y, x)
        inside = tuple(
            slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(asked, self.shape, strict=True)
        )
        box = np.full([max(0, s.stop - s.start) for s in asked], AIR_HU, dtype=np.float32)
        if any(s.stop <= s.start for s in inside):
            return box
        place = tuple(
            slice(i.start - a.start, i.stop - a.start) for i, a in zip(inside, asked, strict=True)
        )
        box[place] = self._resample(inside)
        return box

    def _resample(self, spans: tuple[slice, ...]) -> Hu:
        ranges = [slice(0, 0)] * 3
        for taps, span in zip(self.taps, spans, strict=True):
            ranges[taps.source_axis] = taps.source_range(span)
        source = self.volume.read(ranges[0], ranges[1], ranges[2])
        block = np.fmax(
            source.transpose([taps.source_axis for taps in self.taps]), np.float32(AIR_HU)
        )
        for axis in (2, 1, 0):
            block = self.taps[axis].apply(block, axis, spans[axis])
        return block


def _grid_affine(
    volume: Volume, taps: tuple[AxisTaps, AxisTaps, AxisTaps], spacing_mm: float
) -> Affine:
    source = volume.affine_lps
    first = np.array([0.0, 0.0, 0.0, 1.0])
    affine = np.eye(4)
    for axis, (row, tap) in enumerate(zip(PATIENT_ROW, taps, strict=True)):
        first[tap.source_axis] = tap.position[0]
        step = source[:3, tap.source_axis]
        towards = -1.0 if step[row] < 0 else 1.0
        affine[:3, axis] = step * (towards * spacing_mm / np.linalg.norm(step))
    affine[:3, 3] = (source @ first)[:3]
    return affine
