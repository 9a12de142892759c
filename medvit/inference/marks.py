"""Centre maps -> marks: the peaks of a heat map with their place and diameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from medvit.tiles.blend import Slab

Floats = NDArray[np.float64]
Maps = NDArray[np.float32]
"""Shape (5, z, y, x): heat, log diameter, offsets along z, y, x; see `CentreMaps`."""

CHANNELS = 5
DIAMETERS_MM = (1.0, 100.0)


@dataclass(frozen=True, slots=True)
class Marks:
    """Candidates: centres (n, 3), diameters (n,) in mm and scores (n,)."""

    centres: Floats
    diameters_mm: Floats
    scores: Floats

    def at(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Marks:
        """Return some of them."""
        return Marks(self.centres[which], self.diameters_mm[which], self.scores[which])


def joined(parts: Sequence[Marks]) -> Marks:
    """Return the marks of all parts, in their order."""
    return Marks(
        np.concatenate([np.empty((0, 3)), *(part.centres for part in parts)]),
        np.concatenate([np.empty(0), *(part.diameters_mm for part in parts)]),
        np.concatenate([np.empty(0), *(part.scores for part in parts)]),
    )


def decode(maps: Maps, *, first_cell: Sequence[int], stride: int, min_probability: float) -> Marks:
    """Return the peaks of maps; centres in voxels of the grid (z, y, x).

    A peak is a cell that no neighbour in 3x3x3 exceeds; cells without a value (NaN) count
    as lower than any. Nothing is known beyond the maps, so a cell at their edge is compared
    with fewer neighbours.

    Args:
        first_cell: Cell of the grid (z, y, x) at the start of the maps.
        stride: Voxels on a side of a cell.
        min_probability: Peaks below it are no candidates.
    """
    heat = np.nan_to_num(maps[0], nan=-np.inf)
    return _marks_at(_peaks(heat, min_probability), maps, first_cell, stride)


def decode_slabs(
    slabs: Iterable[Slab], *, first_cell: Sequence[int], stride: int, min_probability: float
) -> Marks:
    """Return the peaks of maps that come slab by slab; the same as `decode` of all at once.

    Args:
        slabs: In order of z, without gaps between them.
        first_cell: Cell (y, x) at the start of each slab.
        stride: As in `decode`, like `min_probability`.
    """
    parts = [
        _marks_at(
            _peaks(np.nan_to_num(maps[0], nan=-np.inf), min_probability, inner=True),
            maps,
            (first_z, *first_cell),
            stride,
        )
        for first_z, maps in _with_neighbours(slabs)
    ]
    return joined(parts)


def _with_neighbours(slabs: Iterable[Slab]) -> Iterator[tuple[int, Maps]]:
    """Yield slabs with one more plane on either side, and the number of that first plane."""
    held: Maps | None = None
    first_z = 0
    for slab in slabs:
        if held is None:
            held, first_z = _nothing_like(slab.values), slab.z.start - 1
        maps = np.concatenate([held, slab.values], axis=1)
        if maps.shape[1] > 2:
            yield first_z, maps
        held, first_z = maps[:, -2:].copy(), slab.z.stop - 2
    if held is not None:
        yield first_z, np.concatenate([held, _nothing_like(held)], axis=1)


def _nothing_like(maps: Maps) -> Maps:
    return np.full((maps.shape[0], 1, *maps.shape[2:]), np.nan, dtype=np.float32)


def _peaks(heat: Maps, min_probability: float, *, inner: bool = False) -> NDArray[np.intp]:
    """Return the cells (n, 3) of peaks; with `inner` none in the first and last plane."""
    values = torch.from_numpy(heat)[None, None]
    is_peak = values == F.max_pool3d(values, 3, stride=1, padding=1)
    # Of the logit, so that no sigmoid is needed where nothing is.
    least = np.log(min_probability / (1 - min_probability)) if min_probability > 0 else -np.inf
    is_peak &= (values >= least) & torch.isfinite(values)
    cells = is_peak[0, 0].numpy()
    if inner:
        cells[[0, -1]] = False
    return np.argwhere(cells)


def _marks_at(cells: NDArray[np.intp], maps: Maps, first_cell: Sequence[int], stride: int) -> Marks:
    z, y, x = cells.T
    heat, log_diameter, *offsets = maps[:, z, y, x].astype(np.float64)  # (n,) each
    places = cells + np.asarray(first_cell) + 0.5 + np.stack(offsets, axis=-1)
    low, high = np.log(DIAMETERS_MM)
    return Marks(
        places * stride - 0.5,
        np.exp(np.clip(log_diameter, low, high)),
        1 / (1 + np.exp(-heat)),
    )
