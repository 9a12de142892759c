"""A volume seen with voxels of another size, resampled block by block on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, Triple, lps_to_index
from medvit.volume.filters import CUBIC, LINEAR, AxisTaps, axis_positions, axis_taps
from medvit.volume.orientation import Axes, nearest_axes, runs_backwards, upright_affine
from medvit.volume.scale import HuScale
from medvit.volume.volume import AIR_HU, Hu, Volume

KERNELS = {"linear": LINEAR, "cubic": CUBIC}

SLAB_VALUES = 100_000
"""Source values taken through the plane at a time: 400 kB stay in the cache."""

BAND_BYTES = 40
"""What one tap of one voxel costs while its axis is resampled."""

EDGE_SLACK = 1e-6
"""A voxel centre this near the face of a box, in voxels, lies inside."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """A volume on voxels of a chosen size: z to superior, y to posterior, x to left.

    The axes are the source's own, put in order and turned where needed; a volume
    that lies oblique stays so, and `affine_lps` says how.

    Attributes:
        volume: The source; blocks of it are read on request.
        spacing_mm: Edges of a grid voxel along (z, y, x).
        shape: (z, y, x) voxels of the grid.
        affine_lps: 4x4, maps (z, y, x, 1) of the grid to (x, y, z, 1) in LPS mm.
        taps: The filters of the grid's z, y and x axis.
        start: Voxel of the filters that the grid begins with; not 0 in a crop.
    """

    volume: Volume
    spacing_mm: Triple
    shape: Axes
    affine_lps: Affine
    taps: tuple[AxisTaps, AxisTaps, AxisTaps]
    start: Axes = (0, 0, 0)

    @classmethod
    def of(
        cls,
        volume: Volume,
        spacing_mm: float | Triple = 1.0,
        *,
        kernel: Literal["linear", "cubic"] = "linear",
        antialias: bool = True,
    ) -> VoxelGrid:
        """Lay a grid over a volume without reading any of it.

        Args:
            volume: The source.
            spacing_mm: Edge of a voxel, or one for each of (z, y, x).
            kernel: Linear or cubic B-spline interpolation.
            antialias: Whether the kernel widens along axes that become coarser, so that
                a voxel is a mean of what it covers.

        Raises:
            ValueError: If a spacing is not positive, or finite; or there is no such kernel.
        """
        spacing = _as_triple(spacing_mm)
        if kernel not in KERNELS:
            msg = f"no kernel {kernel!r}; choose from {', '.join(KERNELS)}"
            raise ValueError(msg)

        def taps_along(grid_axis: int, source_axis: int) -> AxisTaps:
            length, step_mm = volume.shape[source_axis], volume.spacing_mm[source_axis]
            wanted_mm = spacing[grid_axis]
            position = axis_positions(length, step_mm=step_mm, spacing_mm=wanted_mm)
            if runs_backwards(volume.affine_lps, source_axis, along=grid_axis):
                position = position[::-1].copy()
            return axis_taps(
                position,
                length=length,
                source_axis=source_axis,
                kernel=KERNELS[kernel],
                widening=max(1.0, wanted_mm / step_mm) if antialias else 1.0,
            )

        z, y, x = (
            taps_along(grid, axis) for grid, axis in enumerate(nearest_axes(volume.affine_lps))
        )
        shape = (len(z.position), len(y.position), len(x.position))
        affine = upright_affine(
            volume.affine_lps,
            (z.source_axis, y.source_axis, x.source_axis),
            first=(z.position[0], y.position[0], x.position[0]),
            spacing_mm=spacing,
        )
        return cls(volume, spacing, shape, affine, (z, y, x))

    def cropped(self, box: Box) -> VoxelGrid:
        """Return the part of the grid in a box of its voxels, with edges of its own.

        The box may reach beyond the grid; there, and beyond the box, is air.

        Raises:
            ValueError: If the box holds no voxel.
        """
        depth, height, width = (part.stop - part.start for part in box)
        if min(depth, height, width) < 1:
            msg = f"a crop needs a voxel along each axis, got shape {(depth, height, width)}"
            raise ValueError(msg)
        affine = self.affine_lps.copy()
        affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
        z, y, x = (first + part.start for first, part in zip(self.start, box, strict=True))
        return replace(self, shape=(depth, height, width), affine_lps=affine, start=(z, y, x))

    def box_between(self, low_lps_mm: npt.ArrayLike, high_lps_mm: npt.ArrayLike) -> Box:
        """Return the voxels whose centres a box of patient space holds.

        Args:
            low_lps_mm: Its corner (x, y, z) to the right, anterior and inferior.
            high_lps_mm: The opposite corner.

        Returns:
            A box that may reach beyond the grid; in an oblique grid it holds others too.

        Raises:
            ValueError: If the box of patient space is turned inside out.
        """
        corners = np.array([low_lps_mm, high_lps_mm], dtype=np.float64)  # (2, 3)
        if not (corners[0] <= corners[1]).all():
            msg = f"a box runs from low to high, got {corners[0].tolist()} to {corners[1].tolist()}"
            raise ValueError(msg)
        index = lps_to_index(self.affine_lps, np.array(list(product(*corners.T))))  # (8, 3)
        z, y, x = (
            slice(ceil(low - EDGE_SLACK), max(ceil(low - EDGE_SLACK), floor(high + EDGE_SLACK) + 1))
            for low, high in zip(index.min(axis=0), index.max(axis=0), strict=True)
        )
        return z, y, x

    def read(
        self,
        z: slice,
        y: slice,
        x: slice,
        *,
        scale: HuScale | None = None,
        out: Hu | None = None,
    ) -> Hu:
        """Return one box; the part of it beyond the grid is `AIR_HU`.

        Args:
            z: Half-open range with start and stop given; a negative start lies
                before the grid and does not count from its end.
            y: As `z`.
            x: As `z`.
            scale: What becomes of the HU, air included; HU when it is None.
            out: Array of the box's shape to read into.

        Raises:
            ValueError: If `out` has another shape.
        """
        asked = (z, y, x)
        shape = tuple(max(0, part.stop - part.start) for part in asked)
        if out is not None and out.shape != shape:
            msg = f"a box of shape {shape} does not fit into an array of shape {out.shape}"
            raise ValueError(msg)
        inside = tuple(
            slice(max(part.start, 0, -first), min(part.stop, n, len(taps.index) - first))
            for part, n, first, taps in zip(asked, self.shape, self.start, self.taps, strict=True)
        )
        if out is None and inside == asked and 0 not in shape:
            box: Hu = np.ascontiguousarray(self._resample(inside))
        else:
            box = np.empty(shape, dtype=np.float32) if out is None else out
            self._fill(box, asked, inside)
        if scale is not None:
            for plane in box:
                scale.apply(plane, out=plane)
        return box

    def _fill(self, box: Hu, asked: Box, inside: tuple[slice, ...]) -> None:
        if inside != asked:
            box.fill(AIR_HU)
        if all(part.start < part.stop for part in inside):
            place = tuple(
                slice(i.start - a.start, i.stop - a.start)
                for i, a in zip(inside, asked, strict=True)
            )
            box[place] = self._resample(inside)

    def block_bytes(self, shape: Axes) -> int:
        """Return the most memory that reading a box of this shape holds, the box included.

        It is the box, and the larger of two moments: the source block (a slab of it from
        a plain volume) with its slices as they come out of the plane and one slab on its
        way, or those slices and what is made through them. What the volume's own reader
        holds beside the block it returns is not counted.
        """
        by_source = sorted(zip(self.taps, shape, strict=True), key=lambda pair: pair[0].source_axis)
        depth, height, width = (taps.source_length(n) for taps, n in by_source)
        deep, high, wide = (min(n, len(taps.index)) for taps, n in by_source)
        slices = min(depth, _slab_slices(height * width))
        slab = slices * max(height * width + high * width, 2 * high * width + high * wide)
        planes = depth * high * wide
        source = (slices if self.volume.is_plain else depth) * height * width
        values = max(source + slab, deep * high * wide) + planes
        bands = max(min(n, len(taps.index)) * taps.index.shape[1] for taps, n in by_source)
        held: int = 4 * (prod(shape) + values) + BAND_BYTES * bands
        return held

    def _resample(self, inside: tuple[slice, ...]) -> Hu:
        """Resample the slices of the source in plane, then through them.

        The order is the same for every block: another order would round otherwise.
        """
        bands = {
            taps.source_axis: taps.band(slice(part.start + first, part.stop + first))
            for taps, part, first in zip(self.taps, inside, self.start, strict=True)
        }
        z, y, x = (bands[axis] for axis in range(3))  # of the source from here on
        depth = z.source.stop - z.source.start
        planes = np.empty((depth, y.length, x.length), dtype=np.float32)
        for place, slab in self._iter_slabs((z.source, y.source, x.source)):
            block = np.fmax(slab.transpose(1, 0, 2), np.float32(AIR_HU), order="C")
            block = y.apply(block)  # (y, s, x) with s slices
            block = x.apply(block.transpose(2, 0, 1))  # (x, y, s)
            planes[place] = block.transpose(2, 1, 0)
        return z.apply(planes).transpose([taps.source_axis for taps in self.taps])

    def _iter_slabs(self, box: Box) -> Iterator[tuple[slice, Hu]]:
        """Cut a box of the source into slabs; one read does for all unless boxes are cheap."""
        depth, height, width = (part.stop - part.start for part in box)
        step = _slab_slices(height * width)
        source = None if self.volume.is_plain else self.volume.read(*box)
        for start in range(0, depth, step):
            place = slice(start, min(start + step, depth))
            if source is None:
                first = box[0].start
                part = slice(first + place.start, first + place.stop)
                yield place, self.volume.read(part, box[1], box[2])
            else:
                yield place, source[place]


def _slab_slices(plane: int) -> int:
    """Return how many slices of `plane` source voxels are resampled at a time."""
    return max(1, SLAB_VALUES // max(1, plane))


def _as_triple(spacing_mm: float | Triple) -> Triple:
    edges = np.asarray(spacing_mm, dtype=np.float64)
    if edges.shape not in {(), (3,)} or not (np.isfinite(edges) & (edges > 0)).all():
        msg = (
            f"grid spacing must be positive and finite, for all axes or three, got {spacing_mm} mm"
        )
        raise ValueError(msg)
    z_mm, y_mm, x_mm = np.broadcast_to(edges, 3).tolist()
    return z_mm, y_mm, x_mm
