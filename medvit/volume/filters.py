"""Resampling filters of one axis: which source samples make a grid voxel, and how much of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from medvit.volume.volume import Hu

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

CUBIC_RADIUS = 14.0
"""Samples on either side of a cubic voxel that count; `docs/resampling.md` says why 14."""

NO_WEIGHT = 1e-9
"""A smaller weight is none: 4e-6 HU of the whole range of a CT."""

SAME_PLACE = 1e-7
"""A voxel this near a source sample, in source voxels, lies on it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The shape of a filter.

    Attributes:
        radius: Half-width in source samples; nothing counts at that distance or beyond.
        weigh: Weights of samples at signed distances in source samples.
        mirrors: Whether the source goes on beyond its ends as in a mirror at its first
            and last sample; otherwise the weights that fall outside are left out.
    """

    radius: float
    weigh: Callable[[Floats], Floats]
    mirrors: bool


def triangle(distance: Floats) -> Floats:
    """Return the weights of linear interpolation."""
    weight: Floats = np.maximum(0.0, 1.0 - np.abs(distance))
    return weight


def cardinal_cubic(distance: Floats) -> Floats:
    """Return the weights of cubic B-spline interpolation, its prefilter included.

    Unser 1999, "Splines: a perfect fit for signal and image processing": the cubic
    spline that is 1 at one sample and 0 at all others is the sum over k of
    sqrt(3) * (sqrt(3) - 2)**abs(k) * B(x - k), with B the cubic B-spline.

    Examples:
        >>> cardinal_cubic(np.array([0.0, 0.5, 1.0])).round(4).tolist()
        [1.0, 0.6005, -0.0]
    """
    whole = np.floor(np.abs(distance))
    part = np.abs(distance) - whole
    rest = 1 - part
    pieces = (  # B at distances 1 + part, part, rest, 1 + rest
        (-1, rest**3 / 6),
        (0, 2 / 3 - part**2 + part**3 / 2),
        (1, 2 / 3 - rest**2 + rest**3 / 2),
        (2, part**3 / 6),
    )
    total = np.zeros_like(part)
    for shift, piece in pieces:
        total += (sqrt(3) - 2) ** np.abs(whole + shift) * piece
    return sqrt(3) * total


LINEAR = Kernel(1.0, triangle, mirrors=False)
CUBIC = Kernel(CUBIC_RADIUS, cardinal_cubic, mirrors=True)


@dataclass(frozen=True, slots=True)
class AxisTaps:
    """How one grid axis is made from one source axis.

    Attributes:
        source_axis: Axis of the source volume, 0 to 2.
        index: (n, k) source positions; each row holds neighbours, all inside the source,
            the one of least weight first: adding up in that order rounds least.
        weight: (n, k) weights of those positions; each row sums to 1. There is one
            column, of ones, where every voxel is a source sample.
        position: (n,) centres of the grid voxels as fractional source positions.
    """

    source_axis: int
    index: Index
    weight: NDArray[np.float32]
    position: Floats

    def source_range(self, span: slice) -> slice:
        """Return the half-open source range that the grid range `span` reads."""
        used = self.index[span]
        return slice(int(used.min()), int(used.max()) + 1)

    def source_length(self, length: int) -> int:
        """Return the longest source range that `length` grid voxels in a row read."""
        length = min(length, len(self.index))
        if not length:
            return 0
        low, high = self.index.min(axis=1), self.index.max(axis=1)
        last = len(low) - length + 1
        forwards = high[length - 1 :] - low[:last]
        backwards = high[:last] - low[length - 1 :]
        return int(np.maximum(forwards, backwards).max()) + 1

    def band(self, span: slice) -> Band:
        """Return what makes the grid voxels of `span` (half-open) from the source."""
        source = self.source_range(span)
        index = self.index[span] - source.start  # (m, k)
        m, k = index.shape
        if k == 1:
            return Band(source, m, _following(index[:, 0]))
        starts = np.arange(0, index.size + 1, k)
        matrix = sparse.csr_array(
            (self.weight[span].ravel(), index.ravel(), starts),
            shape=(m, source.stop - source.start),
        )
        return Band(source, m, matrix)


@dataclass(frozen=True, slots=True)
class Band:
    """The part of a filter that one block needs.

    Attributes:
        source: Half-open range of the source axis that it reads.
        length: Grid voxels that it makes.
        taps: A sparse (length, source) matrix; or which source samples the voxels are.
    """

    source: slice
    length: int
    taps: Any

    def apply(self, lines: Hu) -> Hu:
        """Resample the first axis of an array that holds the source range.

        The product with the band matrix adds whole rows, one tap after the other as
        they are listed, so every voxel is the same sum of rounded products whatever
        block it is read with. A dense product through BLAS would not promise it.

        Returns:
            (length, ...); a view where the voxels are source samples in a row.
        """
        if not sparse.issparse(self.taps):
            picked: Hu = lines[self.taps]
            return picked
        made: Hu = self.taps @ np.ascontiguousarray(lines).reshape(len(lines), -1)
        return made.reshape(self.length, *lines.shape[1:])


def _following(index: Index) -> slice | Index:
    """Return an index as a slice if it counts up or down by one."""
    steps = set(np.diff(index).tolist())
    if steps <= {1}:
        return slice(index[0], index[-1] + 1)
    if steps == {-1} and index[-1] == 0:
        return slice(index[0], None, -1)
    return index


def axis_positions(length: int, *, step_mm: float, spacing_mm: float) -> Floats:
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
    position: Floats,
    *,
    length: int,
    source_axis: int,
    kernel: Kernel = LINEAR,
    widening: float = 1.0,
) -> AxisTaps:
    """Build the filter of one axis.

    Args:
        position: (n,) where the grid voxels lie, in source voxels.
        length: Samples of the source axis.
        source_axis: Its number in the source volume.
        kernel: The shape of the filter.
        widening: The kernel is stretched by this; 1 interpolates, more also averages.
    """
    on_sample = np.abs(position - np.rint(position)) < SAME_PLACE
    centre = np.where(on_sample, np.rint(position), position)[:, None]  # (n, 1)
    radius = kernel.radius * widening
    width = ceil(2 * radius)
    first = np.floor(centre - radius).astype(np.intp) + 1
    reach = first + np.arange(width)  # (n, width), may lie outside
    weight = kernel.weigh((reach - centre) / widening) * (np.abs(reach - centre) < radius)
    count = min(length, width)
    index = np.clip(first, 0, length - count) + np.arange(count)  # (n, count)
    weight = _folded(weight, reach, index, length if kernel.mirrors else None)
    weight /= weight.sum(axis=1, keepdims=True)
    weight[np.abs(weight) < NO_WEIGHT] = 0.0
    order = np.argsort(np.abs(weight), axis=1, kind="stable")
    index = np.take_along_axis(index, order, axis=1)
    stored = np.take_along_axis(weight, order, axis=1).astype(np.float32)
    if (stored.max(axis=1) == 1.0).all():
        index = np.take_along_axis(index, stored.argmax(axis=1)[:, None], axis=1)
        stored = np.ones_like(index, dtype=np.float32)
    return AxisTaps(source_axis, index, stored, position)


def _folded(weight: Floats, reach: Index, index: Index, mirrored_length: int | None) -> Floats:
    """Bring weights at places that may lie outside to the window `index` (n, count) inside."""
    place = reach
    if mirrored_length is not None:
        period = max(1, 2 * (mirrored_length - 1))
        back = np.mod(reach, period)
        place = np.minimum(back, period - back) if mirrored_length > 1 else np.zeros_like(reach)
    column = place - index[:, :1]
    row = np.broadcast_to(np.arange(len(index))[:, None], column.shape)
    is_inside = (column >= 0) & (column < index.shape[1])
    folded = np.zeros(index.shape)
    np.add.at(folded, (row[is_inside], column[is_inside]), weight[is_inside])
    return folded
