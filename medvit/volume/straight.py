"""Stacks of tilted or unevenly spaced planes, read as a straight, evenly spaced box."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from medvit.volume.volume import AIR_HU, BlockReader, Hu

SNAP = 1e-6
"""Shares of a voxel below this are rounding noise: the voxel is taken as it is."""

CANVAS_SNAP_PX = 1e-3
"""How much of a pixel the canvas may fall short of the planes before it grows by one."""

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StraightBox:
    """How the planes of a stack make a straight box.

    Attributes:
        plane_shape: Rows and columns of a plane.
        shape: `(z, y, x)` of the box.
        first_px: Row and column of the first plane where the box starts; 0 or negative.
        shifts_px: (n, 2) rows and columns by which a plane lies further than the first.
        below: (m,) plane at or under each slice of the box.
        weight: (m,) share of the plane above it; 0 where a slice is a plane.
    """

    plane_shape: tuple[int, int]
    shape: tuple[int, int, int]
    first_px: tuple[int, int]
    shifts_px: Rows
    below: npt.NDArray[np.intp]
    weight: Rows

    @property
    def nearest(self) -> npt.NDArray[np.intp]:
        """Return (m,) numbers of the planes that the slices of the box lie nearest to."""
        return self.below + (self.weight > 0.5)


def straighten(
    plane_shape: tuple[int, int], *, shifts_px: Rows, along_mm: Rows, heights_mm: Rows
) -> StraightBox:
    """Lay a straight box around a stack, large enough that no pixel of it is lost.

    Args:
        plane_shape: Rows and columns of every plane.
        shifts_px: (n, 2) rows and columns by which a plane lies further than the first.
        along_mm: (n,) places of the planes along their normal, ascending.
        heights_mm: (m,) places of the slices of the box, within those of the planes.
    """
    last = len(along_mm) - 1
    below = np.clip(np.searchsorted(along_mm, heights_mm, side="right") - 1, 0, max(last - 1, 0))
    gaps = along_mm[np.minimum(below + 1, last)] - along_mm[below]
    weight = np.clip((heights_mm - along_mm[below]) / np.where(gaps > 0, gaps, 1.0), 0.0, 1.0)
    weight[weight < SNAP] = 0.0
    is_above = weight > 1.0 - SNAP
    first = [floor(low + CANVAS_SNAP_PX) for low in shifts_px.min(axis=0)]
    stop = [
        ceil(high - CANVAS_SNAP_PX) + length
        for high, length in zip(shifts_px.max(axis=0), plane_shape, strict=True)
    ]
    return StraightBox(
        plane_shape,
        (len(heights_mm), stop[0] - first[0], stop[1] - first[1]),
        (first[0], first[1]),
        shifts_px,
        below + is_above,
        np.where(is_above, 0.0, weight),
    )


def read_straight(box: StraightBox, planes: BlockReader, z: slice, y: slice, x: slice) -> Hu:
    """Return the HU of a part of the box; only the planes and rows it needs are read.

    Everything below air (padding) is raised to air first, so that it never blends with
    tissue. Within a plane and between planes values are interpolated linearly. The outer
    half of a border pixel has its value; beyond it a plane holds nothing, and where no
    plane holds anything there is air. A value does not depend on the part it is read with.

    Args:
        box: From `straighten`.
        planes: Reads the planes as they are stored.
        z: Half-open range with plain bounds; `y` and `x` likewise.
    """
    hu = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
    held: dict[int, Hu] = {}
    for row, number in enumerate(range(z.start, z.stop)):
        below, weight = int(box.below[number]), float(box.weight[number])
        needed = (below,) if weight == 0 else (below, below + 1)
        held = {
            plane: held[plane] if plane in held else _shifted(box, planes, plane, y, x)
            for plane in needed
        }
        hu[row] = held[below] if weight == 0 else _between(held[below], held[below + 1], weight)
    hu[np.isnan(hu)] = AIR_HU
    return hu


def _between(below: Hu, above: Hu, weight: float) -> Hu:
    blend = below * np.float32(1 - weight) + above * np.float32(weight)
    # Where one plane holds nothing, the other speaks alone.
    one: Hu = np.where(np.isnan(below), above, np.where(np.isnan(above), below, blend))
    return one


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Where pixels along one axis come from.

    Attributes:
        inside: Part of the asked range that the plane covers.
        source: Range of the plane that it needs.
        low: Pixel under each place, from the start of `source`; `high` the one after it.
        share: What the pixel `high` counts for.
    """

    inside: slice
    source: slice
    low: npt.NDArray[np.intp]
    high: npt.NDArray[np.intp]
    share: float

    def apply(self, block: Hu, axis: int) -> Hu:
        low: Hu = block.take(self.low, axis)
        if self.share == 0:
            return low
        high = block.take(self.high, axis)
        return low * np.float32(1 - self.share) + high * np.float32(self.share)


def _cut(asked: slice, *, offset_px: float, length: int) -> _Cut | None:
    """Return how to read a range that starts `offset_px` into an axis of a plane."""
    whole = floor(offset_px + SNAP)
    share = max(0.0, offset_px - whole)
    share = 0.0 if share < SNAP else share
    start = max(asked.start, ceil(-0.5 - share) - whole)
    stop = min(asked.stop, ceil(length - 0.5 - share) - whole)
    if stop <= start:
        return None
    place = np.arange(start, stop) + whole
    low, high = np.clip(place, 0, length - 1), np.clip(place + 1, 0, length - 1)
    source = slice(int(low[0]), int(low[-1] if share == 0 else high[-1]) + 1)
    inside = slice(start - asked.start, stop - asked.start)
    return _Cut(inside, source, low - source.start, high - source.start, share)


def _shifted(box: StraightBox, planes: BlockReader, number: int, y: slice, x: slice) -> Hu:
    """Return a plane on the grid of the box; NaN where it holds nothing."""
    held = np.full((y.stop - y.start, x.stop - x.start), np.nan, np.float32)
    cuts = [
        _cut(asked, offset_px=first - float(shift), length=length)
        for asked, first, shift, length in zip(
            (y, x), box.first_px, box.shifts_px[number], box.plane_shape, strict=True
        )
    ]
    rows, columns = cuts
    if rows is None or columns is None:
        return held
    block = planes(slice(number, number + 1), rows.source, columns.source)[0]
    np.maximum(block, np.float32(AIR_HU), out=block)
    held[rows.inside, columns.inside] = columns.apply(rows.apply(block, 0), 1)
    return held
