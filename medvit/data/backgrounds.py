"""Backgrounds for training: phantoms without nodules, and real scans, at one spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.nodule_crops import Background
from medvit.data.phantom import draw_phantom, make_phantom
from medvit.geometry import Affine, index_to_lps, lps_to_index
from medvit.volume.lungs import LungMap, find_lungs
from medvit.volume.resample import IsotropicGrid
from medvit.volume.volume import Volume

Triple = tuple[float, float, float]

AERATED_HU = -500.0
APART_MM = 4.0  # between a nodule and what else is known
IN_PLANE_FWHM_MM = 0.9  # middle of METHODS' 0.7 to 1.2 mm


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


def phantom_background(seed: int, *, spacing_mm: float = 1.0) -> Background:
    """Make a phantom chest without nodules."""
    rng = np.random.default_rng(seed)
    spec = draw_phantom(rng, spacing_mm=(spacing_mm,) * 3, n_nodules=0)
    phantom = make_phantom(spec, rng)
    low, high = _box(phantom.lung_mask, margin=8)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu = np.ascontiguousarray(phantom.hu[box])
    return Background(
        hu,
        np.ascontiguousarray(phantom.lung_mask[box]),
        spacing_mm,
        spec.psf_fwhm_mm,
        noise_sd(hu, phantom.lung_mask[box]),
    )


def scan_background(
    volume: Volume, ignored_xyzd_mm: Sequence[Sequence[float]], *, spacing_mm: float = 1.0
) -> Background:
    """Turn a real scan into a background.

    Args:
        ignored_xyzd_mm: Places to leave alone: LPS centre and diameter in mm.
    """
    grid = IsotropicGrid.of(volume, spacing_mm)
    lungs = _on_grid(find_lungs(volume), grid.affine_lps, grid.shape)
    low, high = _box(lungs, margin=8)
    box = [slice(a, b) for a, b in zip(low, high, strict=True)]
    hu = np.clip(grid.read(*box), -1024, 3071).astype(np.int16)
    inside = lungs[tuple(box)] & _aerated(hu)
    ignored = np.zeros((len(ignored_xyzd_mm), 4), np.float32)
    for row, (*xyz_mm, diameter_mm) in zip(ignored, ignored_xyzd_mm, strict=True):
        row[:3] = lps_to_index(grid.affine_lps, np.array(xyz_mm)) - low
        row[3] = diameter_mm
    return Background(
        hu,
        inside,
        spacing_mm,
        _psf_fwhm(volume),
        noise_sd(hu, inside),
        ignored,
    )


def native_background(
    volume: Volume, ignored_xyzd_mm: Sequence[Sequence[float]]
) -> NativeBackground:
    """Turn a real scan into a background on its own grid; arguments as above."""
    hu = np.maximum(volume.read_all(), np.float32(-1024))
    lungs = _on_grid(find_lungs(volume), volume.affine_lps, hu.shape) & _aerated(hu)
    ignored = np.zeros((len(ignored_xyzd_mm), 4))
    for row, (*xyz_mm, diameter_mm) in zip(ignored, ignored_xyzd_mm, strict=True):
        row[:] = [*lps_to_index(volume.affine_lps, np.array(xyz_mm)), diameter_mm]
    return NativeBackground(
        hu, lungs, volume.spacing_mm, _psf_fwhm(volume), noise_sd(hu, lungs), ignored
    )


def _psf_fwhm(volume: Volume) -> Triple:
    return (max(volume.spacing_mm[0], IN_PLANE_FWHM_MM), IN_PLANE_FWHM_MM, IN_PLANE_FWHM_MM)


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


def _aerated(hu: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell lung with its vessels from the heart and liver that a coarse mask takes in."""
    smooth = ndimage.gaussian_filter(hu.astype(np.float32), 1.5)
    return np.asarray(ndimage.binary_dilation(smooth < AERATED_HU, iterations=2))


def _on_grid(lungs: LungMap, affine_lps: Affine, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a coarse mask on a finer grid, whatever the order and sense of its axes."""
    origin, *ends = lps_to_index(
        lungs.affine_lps, index_to_lps(affine_lps, np.vstack([np.zeros(3), np.eye(3)]))
    )
    steps = np.stack([end - origin for end in ends])  # rows: fine axes; columns: coarse axes
    coarse_axes = np.abs(steps).argmax(axis=1)
    places = [np.empty(0, np.intp)] * 3
    for fine, coarse in enumerate(coarse_axes):
        at = origin[coarse] + steps[fine, coarse] * np.arange(shape[fine])
        places[coarse] = np.clip(np.rint(at), 0, lungs.mask.shape[coarse] - 1).astype(np.intp)
    return lungs.mask[np.ix_(*places)].transpose(coarse_axes)


def _box(mask: NDArray[np.bool_], *, margin: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    places = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    low = [max(0, int(place[0]) - margin) for place in places]
    high = [min(n, int(p[-1]) + margin + 1) for n, p in zip(mask.shape, places, strict=True)]
    return np.array(low), np.array(high)
