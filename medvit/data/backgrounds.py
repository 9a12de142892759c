"""Backgrounds for training: phantoms without nodules, and real scans, at one spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.nodule_crops import HIGHEST_HU, Background, Voxels
from medvit.data.packed_mask import PackedMask
from medvit.data.patches import Part
from medvit.data.phantom import draw_phantom, make_phantom
from medvit.data.scan_sharpness import in_plane_fwhm_mm
from medvit.errors import InputError
from medvit.geometry import Affine, index_to_lps, lps_to_index
from medvit.volume.lungs import find_lungs
from medvit.volume.volume import AIR_HU, Volume, volume_of

Triple = tuple[float, float, float]

AERATED_HU = -500.0
APART_MM = 4.0  # between a nodule and what else is known
IN_PLANE_FWHM_MM = 0.9  # where a scan has too few edges to measure it
FINE_MM = 1.0
LUNG_MARGIN = 8  # voxels around the lungs
SLAB_SLICES, AERATED_HALO = 32, 10  # four sigma of the blur and the dilation, at 1 mm or more
NOISE_SLICES, EDGE_SLICES = 24, 8


class Grid(Voxels, Protocol):
    """Voxels with a place in the patient: a grid over a volume or a case."""

    @property
    def spacing_mm(self) -> Triple:
        """Edges of a voxel along (z, y, x), all equal."""

    @property
    def affine_lps(self) -> Affine:
        """4x4, maps (z, y, x, 1) to (x, y, z, 1) in LPS mm."""


@dataclass(frozen=True, slots=True)
class NativeBackground:
    """A real scan on its own grid, to put nodules into and scan again.

    Attributes:
        hu: (z, y, x).
        lungs: (z, y, x), aerated lung with its vessels.
        ignored: (k, 4): voxel centre (z, y, x) and diameter in mm of known lesions.
    """

    hu: NDArray[np.float32]
    lungs: NDArray[np.bool_]
    spacing_mm: Triple
    psf_fwhm_mm: Triple
    noise_sd_hu: float
    ignored: NDArray[np.float64]

    def free(self) -> NDArray[np.bool_]:
        """Return where a nodule may go: lung that is not near a known lesion."""
        free = self.lungs.copy()
        for *centre, diameter_mm in self.ignored:
            self.clear(free, centre, diameter_mm)
        return free

    def clear(self, free: NDArray[np.bool_], centre: Sequence[float], diameter_mm: float) -> None:
        """Take a ball around a voxel, with a margin, out of a mask."""
        axes = np.ogrid[tuple(slice(0, length) for length in free.shape)]
        away_mm2 = sum(
            ((axis - at) * mm) ** 2
            for axis, at, mm in zip(axes, centre, self.spacing_mm, strict=True)
        )
        free[np.asarray(away_mm2 <= (diameter_mm / 2 + APART_MM) ** 2)] = False


@dataclass(frozen=True, slots=True, eq=False)
class MadeChest:
    """A phantom without nodules, cut to its lungs.

    Attributes:
        volume: 1 mm isotropic.
        lungs: Of the volume's shape.
    """

    volume: Volume
    lungs: NDArray[np.bool_]
    psf_fwhm_mm: Triple


def make_chest(seed: int, *, spacing_mm: float = 1.0) -> MadeChest:
    """Make a phantom chest without nodules."""
    rng = np.random.default_rng(seed)
    spec = draw_phantom(rng, spacing_mm=(spacing_mm,) * 3, n_nodules=0)
    phantom = make_phantom(spec, rng)
    low, high = _box(phantom.lung_mask, margin=LUNG_MARGIN)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = phantom.affine_lps.copy()
    affine[:3, 3] = index_to_lps(affine, low)
    hu = np.ascontiguousarray(phantom.hu[box])
    return MadeChest(volume_of(hu, affine), phantom.lung_mask[box].copy(), spec.psf_fwhm_mm)


def chest_background(
    lungs: NDArray[np.bool_], psf_fwhm_mm: Triple, *, lungs_affine: Affine, on: Grid
) -> Background:
    """Turn a made chest into a background, on its own grid or a coarser one.

    Args:
        lungs: (z, y, x); `lungs_affine` says where.
        on: The chest as crops will be read from it.
    """
    here = PackedMask.of(_on_grid(lungs, lungs_affine, on.affine_lps, on.shape))
    side_mm = on.spacing_mm[0]
    return Background(on, here, side_mm, _at_least(psf_fwhm_mm, side_mm), noise_of(on, here))


def scan_background(
    volume: Volume, ignored_xyzd_mm: Sequence[Sequence[float]], *, on: Grid
) -> Background:
    """Turn a real scan into a background; it is read in slabs and not kept.

    Args:
        ignored_xyzd_mm: Places to leave alone: LPS centre and diameter in mm.
        on: The scan as crops will be read from it.

    Raises:
        InputError: If no lungs are found in it.
    """
    found = find_lungs(volume)
    if not found.mask.any():
        msg = f"a scan to put nodules into needs lungs: {found.message}"
        raise InputError(msg, hint="leave it out of data.scans")
    lungs = _on_grid(found.mask, found.affine_lps, on.affine_lps, on.shape)
    low, high = _box(lungs, margin=LUNG_MARGIN)
    shape = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
    part = Part(on, (int(low[0]), int(low[1]), int(low[2])), shape)
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    side_mm = on.spacing_mm[0]
    inside = _keep_aerated(lungs[z, y, x], part, side_mm)
    ignored = np.zeros((len(ignored_xyzd_mm), 4), np.float32)
    for row, (*xyz_mm, diameter_mm) in zip(ignored, ignored_xyzd_mm, strict=True):
        row[:3] = lps_to_index(on.affine_lps, np.array(xyz_mm)) - low
        row[3] = diameter_mm
    psf = _at_least(psf_fwhm_of(volume), side_mm)
    return Background(part, inside, side_mm, psf, noise_of(part, inside), ignored)


def native_background(
    volume: Volume, ignored_xyzd_mm: Sequence[Sequence[float]]
) -> NativeBackground:
    """Turn a real scan into a background on its own grid; arguments as above."""
    hu = np.maximum(volume.read_all(), np.float32(-1024))
    found = find_lungs(volume)
    lungs = _on_grid(found.mask, found.affine_lps, volume.affine_lps, hu.shape) & _aerated(hu)
    ignored = np.zeros((len(ignored_xyzd_mm), 4))
    for row, (*xyz_mm, diameter_mm) in zip(ignored, ignored_xyzd_mm, strict=True):
        row[:] = [*lps_to_index(volume.affine_lps, np.array(xyz_mm)), diameter_mm]
    return NativeBackground(
        hu, lungs, volume.spacing_mm, psf_fwhm_of(volume), noise_sd(hu, lungs), ignored
    )


def psf_fwhm_of(volume: Volume) -> Triple:
    """Return the blur (z, y, x) of a scan: its slice spacing, and what its edges say in-plane."""
    depth = volume.shape[0]
    # Without the ends: partial scans begin in the neck or end in the abdomen.
    chosen = np.unique(np.linspace(0.2, 0.8, EDGE_SLICES) * (depth - 1)).round().astype(int)
    everywhere = slice(None)
    slices = [volume.read(slice(z, z + 1), everywhere, everywhere) for z in chosen.tolist()]
    image = np.clip(np.concatenate(slices), AIR_HU, HIGHEST_HU)
    in_plane_mm = in_plane_fwhm_mm(image, pixel_mm=volume.spacing_mm[1]) or IN_PLANE_FWHM_MM
    return (max(volume.spacing_mm[0], IN_PLANE_FWHM_MM), in_plane_mm, in_plane_mm)


def _at_least(psf_fwhm_mm: Triple, spacing_mm: float) -> Triple:
    """Return the blur on a grid: coarsening is a mean as wide as a voxel."""
    if spacing_mm <= FINE_MM:
        return psf_fwhm_mm
    z_mm, y_mm, x_mm = (float(np.hypot(fwhm, spacing_mm)) for fwhm in psf_fwhm_mm)
    return z_mm, y_mm, x_mm


def noise_of(voxels: Voxels, lungs: PackedMask) -> float:
    """Return `noise_sd` of slices spread evenly over a scan."""
    depth, height, width = lungs.shape
    chosen = np.unique(np.linspace(0, depth - 1, NOISE_SLICES).round().astype(int)).tolist()
    rows, columns = slice(0, height), slice(0, width)
    hu = np.concatenate([voxels.read(slice(z, z + 1), rows, columns) for z in chosen])
    return noise_sd(
        hu, np.concatenate([lungs.read(slice(z, z + 1), rows, columns) for z in chosen])
    )


def noise_sd(hu: NDArray[Any], lungs: NDArray[np.bool_]) -> float:
    """Estimate noise as the spread of what a small blur takes away, deep in parenchyma.

    The median of absolute deviations is blind to vessels and walls.
    """
    values = hu.astype(np.float32)
    rough = values - ndimage.gaussian_filter(values, (0, 1.0, 1.0))
    quiet = rough[lungs & (values < -750)]
    if not quiet.size:
        return 20.0
    return float(1.4826 * np.median(np.abs(quiet - np.median(quiet))))


def _aerated(hu: NDArray[Any], spacing_mm: float = 1.0) -> NDArray[np.bool_]:
    """Tell lung with its vessels from the heart and liver that a coarse mask takes in."""
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5 / spacing_mm)
    grown = max(1, round(2 / spacing_mm))
    return np.asarray(ndimage.binary_dilation(smooth < AERATED_HU, iterations=grown))


def _keep_aerated(lungs: NDArray[np.bool_], voxels: Voxels, spacing_mm: float) -> PackedMask:
    """Return the aerated part of a mask, found slab by slab as if at once."""
    depth, height, width = lungs.shape
    halo = AERATED_HALO
    kept = np.zeros((depth, height, (width + 7) // 8), np.uint8)
    for start in range(0, depth, SLAB_SLICES):
        stop = min(start + SLAB_SLICES, depth)
        low, high = max(0, start - halo), min(depth, stop + halo)
        hu = voxels.read(slice(low, high), slice(0, height), slice(0, width))
        mask = _aerated(np.clip(hu, AIR_HU, HIGHEST_HU), spacing_mm)[start - low : stop - low]
        kept[start:stop] = np.packbits(mask & lungs[start:stop], axis=2)
    return PackedMask(kept, (depth, height, width))


def _on_grid(
    mask: NDArray[np.bool_], mask_affine: Affine, affine_lps: Affine, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return a mask on another grid, whatever the order and sense of its axes."""
    origin, *ends = lps_to_index(
        mask_affine, index_to_lps(affine_lps, np.vstack([np.zeros(3), np.eye(3)]))
    )
    steps = np.stack([end - origin for end in ends])  # rows: fine axes; columns: coarse axes
    coarse_axes = np.abs(steps).argmax(axis=1)
    places = [np.empty(0, np.intp)] * 3
    for fine, coarse in enumerate(coarse_axes):
        at = origin[coarse] + steps[fine, coarse] * np.arange(shape[fine])
        places[coarse] = np.clip(np.rint(at), 0, mask.shape[coarse] - 1).astype(np.intp)
    return mask[np.ix_(*places)].transpose(coarse_axes)


def _box(mask: NDArray[np.bool_], *, margin: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    places = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    low = [max(0, int(place[0]) - margin) for place in places]
    high = [min(n, int(p[-1]) + margin + 1) for n, p in zip(mask.shape, places, strict=True)]
    return np.array(low), np.array(high)
