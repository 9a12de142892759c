"""What the voxels around a mark say: how wide the lesion is, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.geometry import Triple, index_to_lps, lps_to_index
from medvit.volume.blurred_ball import recovery, sharpened
from medvit.volume.pyramid import Pyramid
from medvit.volume.rays import along, circle, first_below, fit_ball, reach_of, sphere
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Hu

Floats = NDArray[np.float64]
Doubt = Literal["", "faint", "no_lung", "no_edge", "ragged", "moved", "disagrees"]
"""Why a measurement is not to be trusted; empty when nothing speaks against it."""

FINEST_MM, COARSEST_MM = 0.5, 1.0
LUNG_HU, MOST_LUNG_HU = -850.0, -600.0
TISSUE_HU = 60.0
"""Calcium and contrast medium count as soft tissue where an edge is looked for."""

SOLID_HU, CALCIFIED_HU = -300.0, 200.0
PSF_FWHM_MM, FWHM_PER_SIGMA = 1.0, 2.3548
SMOOTH_MM, MORE_SMOOTH_MM = 0.4, 0.9
NOISY = 12.0
"""Lesions whose contrast is less than so many spreads of the lung are smoothed more."""

LARGEST_MM = 60.0
"""Beyond this the box would be large, and a mass has no one diameter."""

LEAST_CONTRAST_HU, LEAST_LUNG = 70.0, 0.04
LEAST_EDGES, MOST_RAGGED, MOST_MOVED = 0.5, 0.3, 0.8
MOST_DISAGREED = 1.9
RAYS, RING, STEP_MM = 192, 72, 0.2
LOW_EDGE, DEPTH_SIGMAS = 0.15, 2.5


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion as its voxels show it.

    Attributes:
        diameter_mm: Of the circle with the area of the lesion's axial cut at half contrast.
        centre_lps_mm: Middle of the lesion.
        hu: Median attenuation inside, the blurred edge left out.
        solid_share: Share of the inside that is as dense as soft tissue.
        calcified_share: Share of the inside that is denser than any soft tissue.
        recovery: Share of its contrast that a ball of this size keeps in its middle in spite
            of the blur; where it is low, texture cannot be told.
        doubt: Why not to trust the diameter; empty when nothing speaks against it.
    """

    diameter_mm: float
    centre_lps_mm: Triple
    hu: float
    solid_share: float
    calcified_share: float
    recovery: float
    doubt: Doubt


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """The box around a mark, on even voxels.

    Attributes:
        hu: (z, y, x).
        side_mm: Edge of a voxel.
        sigma_mm: Blur (z, y, x) of scanner, grid and smoothing together.
        lung_hu: Median of the lung in it; `spread_hu` its spread, noise and all.
        lung_share: How much of the box is lung.
    """

    hu: Hu
    side_mm: float
    sigma_mm: Floats
    lung_hu: float
    spread_hu: float
    lung_share: float

    def smoothed(self, sigma_mm: float) -> _Patch:
        """Return the patch with less noise."""
        hu = ndimage.gaussian_filter(self.hu, sigma_mm / self.side_mm, mode="nearest", truncate=3)
        return _patch_of(hu, self.side_mm, np.hypot(self.sigma_mm, sigma_mm))


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """Where rays from the middle of a lesion leave it.

    Attributes:
        profiles: (n, r) HU along the rays.
        level_hu: Attenuation of the edge: half of the contrast just inside it.
        radii_mm: (n,) lengths; infinite where a ray meets no edge.
    """

    profiles: Floats
    level_hu: float
    radii_mm: Floats


WAYS, ROUND = sphere(RAYS), circle(RING)


def measure_lesion(pyramid: Pyramid, centre_lps_mm: Triple, diameter_mm: float) -> Lesion:
    """Measure the lesion at a mark; only a box around it is read.

    Rays run out from the middle until the attenuation is halfway between that just inside
    the edge and that of the lung, so solid, part-solid and ground-glass lesions are each cut
    at half of their own contrast. A circle is fitted to the crossings in the axial plane;
    rays that run on into a vessel or the wall are dropped, and the circle stands in for
    them. What blur does to small balls is taken back by the closed form of a blurred ball.

    Args:
        pyramid: The scan.
        centre_lps_mm: The mark.
        diameter_mm: What the detector takes for the diameter.

    Raises:
        ReadError: If the voxels cannot be read.
    """
    guess_mm = float(np.clip(diameter_mm, 2.0, LARGEST_MM))
    grid, rough = _read(pyramid, centre_lps_mm, guess_mm)
    mark = lps_to_index(grid.affine_lps, centre_lps_mm)
    patch, centre, outline = _settled(rough, mark, guess_mm)
    steps = _steps(guess_mm)
    ring = first_below(_along(patch, centre, ROUND, steps), steps, outline.level_hu)
    radius_mm, kept_share, ragged_mm = _cut(ring)
    radius_mm = sharpened(radius_mm, float(patch.sigma_mm[1:].mean()))
    moved_mm = float(np.linalg.norm(centre - mark)) * patch.side_mm
    x_mm, y_mm, z_mm = index_to_lps(grid.affine_lps, centre).tolist()
    hu, solid_share, calcified_share = _inside(patch, outline)
    doubts: tuple[tuple[Doubt, bool], ...] = (
        ("no_lung", patch.lung_share < LEAST_LUNG),
        ("faint", 2 * (outline.level_hu - patch.lung_hu) < LEAST_CONTRAST_HU),
        ("no_edge", kept_share < LEAST_EDGES),
        ("ragged", ragged_mm > MOST_RAGGED * radius_mm),
        ("moved", moved_mm > MOST_MOVED * max(guess_mm / 2, radius_mm)),
        ("disagrees", abs(np.log(2 * radius_mm / diameter_mm)) > np.log(MOST_DISAGREED)),
    )
    return Lesion(
        2 * radius_mm,
        (x_mm, y_mm, z_mm),
        hu,
        solid_share,
        calcified_share,
        recovery(radius_mm, float(patch.sigma_mm.mean())),
        next((name for name, speaks in doubts if speaks), ""),
    )


def _settled(rough: _Patch, mark: Floats, guess_mm: float) -> tuple[_Patch, Floats, _Outline]:
    """Return the patch as smooth as its noise asks for, and middle and outline of the lesion."""
    patch = rough.smoothed(SMOOTH_MM)
    centre = _brightest_near(patch, mark, guess_mm)
    outline = _outline(patch, centre, guess_mm)
    if 2 * (outline.level_hu - patch.lung_hu) < NOISY * patch.spread_hu:
        patch = rough.smoothed(MORE_SMOOTH_MM)
        outline = _outline(patch, centre, guess_mm)
    for _ in range(2):
        away_mm, _, _ = fit_ball(WAYS, outline.radii_mm)
        moved = _outline(patch, centre + away_mm / patch.side_mm, guess_mm)
        if np.median(moved.radii_mm) < STEP_MM:
            break  # no longer in the lesion
        centre, outline = centre + away_mm / patch.side_mm, moved
    return patch, centre, outline


def _cut(ring: Floats) -> tuple[float, float, float]:
    """Return radius of the axial cut, share of rays with an edge, and how ragged it is in mm."""
    middle_mm, radius_mm, kept = fit_ball(ROUND, ring)
    if not kept.any():
        return STEP_MM, 0.0, 0.0
    ragged_mm = float(np.median(np.abs(ring[kept] - reach_of(ROUND, middle_mm, radius_mm)[kept])))
    if kept.all():
        radius_mm = float(np.sqrt(np.mean(ring**2)))
    return max(radius_mm, STEP_MM), float(kept.mean()), ragged_mm


def _read(pyramid: Pyramid, centre_lps_mm: Triple, guess_mm: float) -> tuple[VoxelGrid, _Patch]:
    """Return the box around a mark, and the grid it lies on."""
    side_mm = float(np.clip(guess_mm / 12, FINEST_MM, COARSEST_MM))
    volume = pyramid.level_for(side_mm)
    grid = VoxelGrid.of(volume, side_mm)
    reach = ceil(_reach_mm(guess_mm) / side_mm) + 1
    middle = np.rint(lps_to_index(grid.affine_lps, centre_lps_mm)).astype(int)
    low = np.clip(middle - reach, 0, np.array(grid.shape) - 1)
    high = np.clip(middle + reach + 1, 1, grid.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    cropped = grid.cropped((z, y, x))
    hu = cropped.read(*(slice(0, n) for n in cropped.shape))
    steps_mm = [volume.spacing_mm[taps.source_axis] for taps in grid.taps]
    psf = np.maximum(PSF_FWHM_MM, steps_mm) / FWHM_PER_SIGMA
    return cropped, _patch_of(hu, side_mm, psf)


def _patch_of(hu: Hu, side_mm: float, sigma_mm: Floats) -> _Patch:
    lung = hu[hu < MOST_LUNG_HU]
    share = lung.size / hu.size
    if not lung.size:
        return _Patch(hu, side_mm, sigma_mm, LUNG_HU, 0.0, 0.0)
    middle = float(np.median(lung))
    spread = 1.4826 * float(np.median(np.abs(lung - middle)))
    return _Patch(hu, side_mm, sigma_mm, middle, spread, share)


def _reach_mm(guess_mm: float) -> float:
    return float(np.clip(0.8 * guess_mm + 7.0, 10.0, 50.0))


def _steps(guess_mm: float) -> Floats:
    return np.arange(0.0, _reach_mm(guess_mm), STEP_MM)


def _along(patch: _Patch, centre: Floats, ways: Floats, steps_mm: Floats) -> Floats:
    return along(patch.hu, centre, ways, steps_mm / patch.side_mm)


def _brightest_near(patch: _Patch, mark: Floats, guess_mm: float) -> Floats:
    """Return the voxel (z, y, x) that is bright and near the mark."""
    sigma = max(0.7, guess_mm / 8) / patch.side_mm
    blurred = ndimage.gaussian_filter(patch.hu, sigma, mode="nearest", truncate=2)
    bright = np.clip(blurred, patch.lung_hu, TISSUE_HU) - patch.lung_hu
    axes = np.ogrid[tuple(slice(0, n) for n in patch.hu.shape)]
    away_mm2 = sum(((axis - at) * patch.side_mm) ** 2 for axis, at in zip(axes, mark, strict=True))
    width_mm = 0.2 * guess_mm + 0.4
    weight = bright * np.exp(-np.asarray(away_mm2) / (2 * width_mm**2))
    return np.array(np.unravel_index(int(weight.argmax()), weight.shape), np.float64)


def _outline(patch: _Patch, centre: Floats, guess_mm: float) -> _Outline:
    """Find the edge: first where the lung begins, then half of the contrast just inside."""
    steps = _steps(guess_mm)
    profiles = _along(patch, centre, WAYS, steps)
    core = float(np.median(profiles[:, steps <= max(0.8, 0.1 * guess_mm)]))
    contrast = min(core, TISSUE_HU) - patch.lung_hu
    low = patch.lung_hu + max(LOW_EDGE * contrast, 3 * patch.spread_hu, 40.0)
    outer = first_below(profiles, steps, low)
    _, _, kept = fit_ball(WAYS, outer)
    if not kept.any():
        return _Outline(profiles, patch.lung_hu + contrast / 2, outer)
    sigma_mm = np.linalg.norm(WAYS * patch.sigma_mm, axis=1)
    depth = np.maximum(outer - DEPTH_SIGMAS * sigma_mm, 0.0)[kept]
    rows = np.flatnonzero(kept)
    inner = profiles[rows, np.rint(depth / STEP_MM).astype(int)]
    level = (float(np.median(inner)) + patch.lung_hu) / 2
    return _Outline(profiles, level, first_below(profiles, steps, level))


def _inside(patch: _Patch, outline: _Outline) -> tuple[float, float, float]:
    """Return median HU, solid share and calcified share of the inside, by volume."""
    _, _, kept = fit_ball(WAYS, outline.radii_mm)
    steps = np.arange(outline.profiles.shape[1]) * STEP_MM
    sigma_mm = np.linalg.norm(WAYS * patch.sigma_mm, axis=1)
    ends = np.maximum(outline.radii_mm - 1.5 * sigma_mm, 0.35 * outline.radii_mm)
    inside = (steps <= ends[:, None]) & kept[:, None]
    if not inside.any():
        return patch.lung_hu, 0.0, 0.0
    weight = np.broadcast_to(steps**2 + STEP_MM**2 / 12, inside.shape)[inside]
    hu = outline.profiles[inside]
    order = np.argsort(hu, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    middle = float(hu[order][np.searchsorted(share, 0.5)])
    return (
        middle,
        float(weight[hu > SOLID_HU].sum() / weight.sum()),
        float(weight[hu > CALCIFIED_HU].sum() / weight.sum()),
    )
