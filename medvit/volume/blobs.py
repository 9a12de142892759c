"""A coarse map of candidates: bright blobs in the lungs, each with its chance to be a nodule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.geometry import index_to_lps
from medvit.volume.morphology import Mask
from medvit.volume.region import Box, Region
from medvit.volume.resample import VoxelGrid
from medvit.volume.slabs import iter_slabs
from medvit.volume.volume import Hu, Volume

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BLOB_MM = 2.0
SIGMAS_MM = (2.0, 3.0, 4.5, 6.75)
"""A ball answers most at its diameter / 3.46: 7 to 23 mm, and those near these sizes."""

CLIP_HU = (-1000.0, 50.0)
"""Bone and calcium are no brighter than muscle, so ribs do not stand out of the wall."""

LEAST_HU = 4.0
"""Weaker responses are noise and texture."""

TRUNCATE = 3.0
SLAB_VOXELS = 64

# Logistic regression on 40 phantoms (seeds 70000 to 70039) with eight nodules each and
# 60 nodules put into one real scan: chances are those of a scan with so many.
CONSTANT = -6.3
PER_ROUNDNESS, PER_ROUND_LOG_HU, PER_HU, PER_LOG_SIGMA = -3.9, 3.7, 0.0037, -1.35


@dataclass(frozen=True, slots=True, eq=False)
class Blobs:
    """Bright blobs of a scan, from bottom to top.

    Attributes:
        centres_lps_mm: (n, 3) as x, y, z.
        diameters_mm: (n,) of the ball that would answer most at the same scale.
        chances: (n,) chance that a nodule is there, 0 to 1.
    """

    centres_lps_mm: Floats
    diameters_mm: Floats
    chances: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Convex:
    """Where one blurred image is curved downwards in every direction.

    Attributes:
        places: (n,) flat indices, ascending.
        responses_hu: (n,) geometric mean of the curvatures times the scale squared.
        hu: (n,) blurred attenuation.
        curvatures: (n, 6) negated second derivatives zz, yy, xx, zy, zx, yx.
    """

    places: Places
    responses_hu: Hu
    hu: Hu
    curvatures: Hu

    def at(self, which: Places | Mask) -> _Convex:
        """Return some of them."""
        return _Convex(
            self.places[which], self.responses_hu[which], self.hu[which], self.curvatures[which]
        )


def find_blobs(volume: Volume, region: Region) -> Blobs:
    """Find what is brighter than all around it, from 3 to 30 mm, at voxels of 2 mm.

    The response is the geometric mean of the three curvatures of the blurred image
    (determinant of the Hessian, Lindeberg 1998), so tubes and walls do not answer.
    A slab is held at a time; blobs do not depend on where slabs meet.

    Args:
        volume: The scan, or a level of its pyramid with voxels of up to 2 mm.
        region: Where to look; its axes are those of the volume.
    """
    grid = VoxelGrid.of(volume, BLOB_MM)
    box = region.box_on(grid)
    parts = [_blobs_of_slab(grid, region, slab) for slab in _slabs(box)] if box else []
    return Blobs(
        np.concatenate([np.empty((0, 3)), *(part.centres_lps_mm for part in parts)]),
        np.concatenate([np.empty(0), *(part.diameters_mm for part in parts)]),
        np.concatenate([np.empty(0), *(part.chances for part in parts)]),
    )


def chances_of(*, response_hu: Floats, roundness: Floats, hu: Floats, sigma_mm: Floats) -> Floats:
    """Return the chance of blobs to be nodules, from what was measured at their centres.

    Args:
        response_hu: Geometric mean of the curvatures times the scale squared.
        roundness: Weakest by strongest curvature: 1 for a ball, 0 for a tube.
        hu: Blurred attenuation.
        sigma_mm: Scale.
    """
    logit = (
        CONSTANT
        + roundness * (PER_ROUNDNESS + PER_ROUND_LOG_HU * np.log(response_hu))
        + PER_HU * hu
        + PER_LOG_SIGMA * np.log(sigma_mm)
    )
    return np.asarray(1 / (1 + np.exp(-logit)))


def _slabs(box: Box) -> Iterator[Box]:
    z, y, x = box
    for start in range(z.start, z.stop, SLAB_VOXELS):
        yield slice(start, min(start + SLAB_VOXELS, z.stop)), y, x


def _blobs_of_slab(grid: VoxelGrid, region: Region, slab: Box) -> Blobs:
    halo = _halo()
    z, y, x = _grown(slab, halo)
    hu = _read_clipped(grid, (z, y, x))
    # A voxel more than the slab: whether a voxel is a peak is up to its neighbours.
    inside = np.pad(region.on_grid(_grown(slab, 1), on=grid), halo - 1)
    index, scales, found = _peaks(list(_iter_convex(hu, inside)), hu.shape)
    is_mine = (index[:, 0] >= halo) & (index[:, 0] < hu.shape[0] - halo)
    found, sigma_mm = found.at(is_mine), np.array(SIGMAS_MM)[scales[is_mine]]
    return Blobs(
        index_to_lps(grid.affine_lps, index[is_mine] + (z.start, y.start, x.start)),
        2 * sqrt(3) * sigma_mm,
        chances_of(
            response_hu=found.responses_hu.astype(np.float64),
            roundness=_roundness(found.curvatures),
            hu=found.hu.astype(np.float64),
            sigma_mm=sigma_mm,
        ),
    )


def _grown(box: Box, margin: int) -> Box:
    z, y, x = (slice(part.start - margin, part.stop + margin) for part in box)
    return z, y, x


def _read_clipped(grid: VoxelGrid, box: Box) -> Hu:
    """Return a box of the grid; beyond its ends the last voxels are repeated."""
    z, y, x = (slice(max(0, p.start), min(p.stop, n)) for p, n in zip(box, grid.shape, strict=True))
    hu: Hu = np.empty([part.stop - part.start for part in (z, y, x)], dtype=np.float32)
    for slab in iter_slabs((z, y, x), grid):
        grid.read(*slab, out=hu[slab[0].start - z.start : slab[0].stop - z.start])
    np.clip(hu, *CLIP_HU, out=hu)
    ends = [(i.start - a.start, a.stop - i.stop) for i, a in zip((z, y, x), box, strict=True)]
    return np.pad(hu, ends, mode="edge")


def _blur_steps() -> list[float]:
    """Return by how many voxels each scale is blurred on from the one before."""
    sigmas = [sigma / BLOB_MM for sigma in (0.0, *SIGMAS_MM)]
    return [sqrt(wide**2 - narrow**2) for narrow, wide in pairwise(sigmas)]


def _halo() -> int:
    """Return how many voxels around a place its response depends on, and its neighbours'."""
    return sum(int(TRUNCATE * step + 0.5) for step in _blur_steps()) + 2


def _iter_convex(hu: Hu, inside: Mask) -> Iterator[_Convex]:
    """Yield the convex places of each scale, finest first."""
    for step, sigma_mm in zip(_blur_steps(), SIGMAS_MM, strict=True):
        hu = ndimage.gaussian_filter(hu, step, truncate=TRUNCATE, mode="nearest")
        yield _convex(hu, inside, (sigma_mm / BLOB_MM) ** 2)


def _convex(smooth: Hu, inside: Mask, weight: float) -> _Convex:
    # The mean of three curvatures is no less than their geometric mean.
    places = np.flatnonzero((_laplacian(smooth) * -weight > 3 * LEAST_HU) & inside)
    curvatures = _curvatures(smooth, places)
    zz, yy, xx, zy, zx, yx = curvatures.T
    minor = zz * yy - zy**2
    volume = zz * (yy * xx - yx**2) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)
    responses = np.cbrt(volume) * np.float32(weight)
    found = _Convex(places, responses, smooth.ravel()[places], curvatures)
    return found.at((zz > 0) & (minor > 0) & (responses > LEAST_HU))


def _laplacian(smooth: Hu) -> Hu:
    total = -6 * smooth
    for axis in range(3):
        out, values = np.moveaxis(total, axis, 0), np.moveaxis(smooth, axis, 0)
        out[1:] += values[:-1]
        out[:-1] += values[1:]
    return total


def _curvatures(smooth: Hu, places: Places) -> Hu:
    """Return negated second derivatives (n, 6), a voxel apart; no place lies on the border."""
    values = smooth.ravel()
    z, y, x = smooth.shape[1] * smooth.shape[2], smooth.shape[2], 1
    middle = 2 * values[places]
    pure = [middle - values[places + step] - values[places - step] for step in (z, y, x)]
    mixed = [
        values[places + a - b]
        + values[places - a + b]
        - values[places + a + b]
        - values[places - a - b]
        for a, b in ((z, y), (z, x), (y, x))
    ]
    return np.stack([*pure, *(cross / 4 for cross in mixed)], axis=1)


def _peaks(
    by_scale: Sequence[_Convex], shape: tuple[int, ...]
) -> tuple[Places, NDArray[np.int8], _Convex]:
    """Return index (n, 3), scale and measures of what beats all neighbours at every scale.

    Of equal neighbours the last one wins, of equal scales the finest.
    """
    every = _Convex(
        np.concatenate([found.places for found in by_scale]),
        np.concatenate([found.responses_hu for found in by_scale]),
        np.concatenate([found.hu for found in by_scale]),
        np.concatenate([found.curvatures for found in by_scale]),
    )
    counts = [len(found.places) for found in by_scale]
    scale = np.repeat(np.arange(len(counts), dtype=np.int8), counts)
    best = np.zeros(shape, dtype=np.float32).ravel()
    row = np.zeros(best.size, dtype=np.intp)
    for number in range(len(counts)):
        rows = np.flatnonzero((scale == number) & (every.responses_hu > best[every.places]))
        best[every.places[rows]] = every.responses_hu[rows]
        row[every.places[rows]] = rows
    places = _beating_neighbours(best, shape)
    index = np.stack(np.unravel_index(places, shape), axis=1)
    return index, scale[row[places]], every.at(row[places])


def _beating_neighbours(best: Hu, shape: tuple[int, ...]) -> Places:
    """Return the flat places above 0 that beat all 26 neighbours; of equals the last one wins."""
    places = np.flatnonzero(best > 0)
    is_peak = np.ones(len(places), dtype=bool)
    for dz, dy, dx in product((-1, 0, 1), repeat=3):
        step = (dz * shape[1] + dy) * shape[2] + dx
        if step > 0:
            is_peak &= best[places] > best[places + step]
        elif step < 0:
            is_peak &= best[places] >= best[places + step]
    return places[is_peak]


def _roundness(curvatures: Hu) -> Floats:
    """Return the weakest by the strongest curvature: 1 for a ball, 0 for a tube."""
    zz, yy, xx, zy, zx, yx = curvatures.T
    rows = [np.stack(row, axis=-1) for row in ((zz, zy, zx), (zy, yy, yx), (zx, yx, xx))]
    principal = np.linalg.eigvalsh(np.stack(rows, axis=-2).astype(np.float64))  # (n, 3)
    return np.clip(principal[:, 0] / principal[:, 2], 0.0, 1.0)
