"""Overlapping tile maps -> one map of the whole grid, slab by slab along z."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from medvit.tiles.grid import Box, Triple

Maps = npt.NDArray[np.floating[Any]]
Weights = npt.NDArray[np.float32]
Window = Callable[[int], Weights]
"""Gives the weights of the cells along one axis of a tile, all positive."""

LEVELS = 256
"""Axis weights are whole multiples of 1/256, the least of them 1/256.

The product over three axes then has 24 bits, and times a float32 it has 48: sums of
up to 32 tiles are exact in float64, so equal maps blend to themselves bit by bit.
"""


@dataclass(frozen=True, slots=True)
class Slab:
    """Finished cells between two planes of the grid.

    Attributes:
        z: Half-open range of planes of the grid.
        values: Blended maps, shape (c, z, y, x), float32; NaN where no tile lies.
        weight: Sum of the window weights, shape (z, y, x), float32; 0 where no tile lies.
    """

    z: slice
    values: npt.NDArray[np.float32]
    weight: Weights


def gaussian_window(length: int, *, sigma_share: float = 0.125) -> Weights:
    """Return weights that fall off from the middle like a bell.

    Args:
        length: Cells along the axis.
        sigma_share: Standard deviation as a share of the length.

    Examples:
        >>> (gaussian_window(5, sigma_share=0.25) * 256).tolist()
        [71.0, 186.0, 256.0, 186.0, 71.0]
    """
    distance = (np.arange(length) - (length - 1) / 2) / (sigma_share * length)
    return _in_levels(np.exp(-(distance**2) / 2))


def tent_window(length: int) -> Weights:
    """Return weights that fall off from the middle in a straight line.

    Examples:
        >>> (tent_window(4) * 256).tolist()
        [64.0, 192.0, 192.0, 64.0]
    """
    return _in_levels(1 - np.abs(2 * np.arange(length) + 1 - length) / length)


def flat_window(length: int) -> Weights:
    """Return equal weights: tiles count alike wherever they lie.

    Examples:
        >>> flat_window(3).tolist()
        [1.0, 1.0, 1.0]
    """
    return np.ones(length, dtype=np.float32)


def _in_levels(weights: npt.NDArray[np.float64]) -> Weights:
    levels = np.clip(np.rint(weights * LEVELS), 1, LEVELS)
    return np.asarray(levels / LEVELS, dtype=np.float32)


def blend(
    boxes: Mapping[int, Box],
    load: Callable[[int], Maps],
    *,
    within: Box,
    channels: int,
    thickness: int,
    window: Window = gaussian_window,
) -> Iterator[Slab]:
    """Return the weighted mean of overlapping tiles, slab after slab in order of z.

    Each cell is sum(w * v) / sum(w) over the tiles that cover it, added up in float64
    in the order of their numbers. So neither the order of `boxes` nor `thickness`
    changes a bit. Held at a time: one slab and one tile; see `blend_bytes`. For that,
    a tile is loaded anew for each slab that it crosses, at most
    `1 + ceil((depth - 1) / thickness)` times for a tile of `depth` planes.

    Args:
        boxes: Number -> box in cells of the grid; it may lie partly outside `within`.
        load: Gives the maps of a tile, shape (c, z, y, x), float32 or narrower.
        within: The box of cells that is wanted, half-open.
        channels: Number of maps, c.
        thickness: Planes of a slab; the last may have fewer.
        window: Weights along one axis of a tile.

    Raises:
        ValueError: If a number is not positive, or maps do not have the shape of their box.
    """
    if min(channels, thickness) < 1:
        msg = f"blending needs at least 1 channel and 1 plane, got {channels=}, {thickness=}"
        raise ValueError(msg)
    depth = within[0]

    def slab_from(start: int) -> Slab:
        part = (slice(start, min(start + thickness, depth.stop)), within[1], within[2])
        sums = _Sums(part, channels, window)
        for number in sorted(boxes):
            if _overlap(boxes[number], part) is not None:
                sums.add(number, boxes[number], load(number))
        return sums.slab()

    return (slab_from(start) for start in range(depth.start, depth.stop, thickness))


def blend_bytes(*, channels: int, slab: Triple, tile: Triple) -> int:
    """Return the most memory that blending holds at a time, in bytes.

    For each cell of a slab: sums and weight in float64, the finished float32 values and
    weight twice (the caller's loop still holds those before), and one byte of mask. The
    float32 maps of one tile; of the part of a tile in the slab, weights and products of
    one channel in float64.

    Args:
        channels: Number of maps.
        slab: (thickness, y, x) in cells, y and x those of `within`.
        tile: (z, y, x) in cells of the largest tile.

    Examples:
        >>> blend_bytes(channels=5, slab=(16, 150, 200), tile=(48, 48, 48)) // 2**20
        47
    """
    part = min(slab[0], tile[0]) * tile[1] * tile[2]
    return prod(slab) * ((channels + 1) * (8 + 2 * 4) + 1) + prod(tile) * channels * 4 + part * 16


class _Sums:
    """What the tiles of one slab add up to.

    Args:
        part: Where the slab lies on the grid.
    """

    def __init__(self, part: Box, channels: int, window: Window) -> None:
        shape = _shape_of(part)
        self._part = part
        self._window = window
        self._values = np.zeros((channels, *shape))
        self._weight = np.zeros(shape)

    def add(self, number: int, box: Box, maps: Maps) -> None:
        """Add what of a tile lies in the slab."""
        expected = (len(self._values), *_shape_of(box))
        if maps.shape != expected:
            msg = f"the maps of tile {number} must have shape {expected}, got {maps.shape}"
            raise ValueError(msg)
        shared = _overlap(box, self._part)
        if shared is None:
            return
        here, there = _seen_from(self._part, shared), _seen_from(box, shared)
        z, y, x = (
            self._window(length)[side].astype(np.float64)
            for length, side in zip(_shape_of(box), there, strict=True)
        )
        weight = z[:, None, None] * (y[:, None] * x)  # (z, y, x)
        self._weight[here] += weight
        for total, values in zip(self._values, maps, strict=True):
            total[here] += weight * values[there]

    def slab(self) -> Slab:
        """Return the means."""
        values = np.full(self._values.shape, np.nan, dtype=np.float32)
        np.divide(
            self._values, self._weight, out=values, where=self._weight > 0, casting="same_kind"
        )
        return Slab(self._part[0], values, self._weight.astype(np.float32))


def _shape_of(box: Box) -> Triple:
    z, y, x = (side.stop - side.start for side in box)
    return z, y, x


def _overlap(box: Box, other: Box) -> Box | None:
    """Return the cells that two boxes share, or None."""
    z, y, x = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other, strict=True)
    )
    return (z, y, x) if min(_shape_of((z, y, x))) > 0 else None


def _seen_from(box: Box, part: Box) -> Box:
    """Return a part in coordinates that start at the first cell of a box."""
    z, y, x = (slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
    return z, y, x
