"""How sharp a scan is in its slices, measured at the edges between air and tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

FWHM_PER_SIGMA = 2.3548
PLATEAU_MM = 4.0
"""How far from an edge the image is even again."""
AIR_HU, TISSUE_HU = (-1100.0, -700.0), (-180.0, 160.0)
LEAST_EDGES = 200
SHARPEST_SHARE = 0.6
"""Edges that slant through the slice, or move, look wider: the sharper half counts."""
FWHM_RANGE_MM = (0.4, 2.5)


def in_plane_fwhm_mm(slices_hu: Floats, *, pixel_mm: float) -> float | None:
    """Measure the in-plane blur of a scan as the FWHM of its point spread.

    The slope of a step of height h seen through a Gaussian of spread s is h / (s sqrt(2 pi));
    the spread that central differences add is taken away.

    Args:
        slices_hu: (z, y, x), a few axial slices with lung or skin in them.

    Returns:
        None if there are too few edges to tell.
    """
    ratios = [_steepness(hu, pixel_mm) for hu in slices_hu]
    steep = np.concatenate([np.zeros(0), *ratios])
    if steep.size < LEAST_EDGES:
        return None
    sigma_mm = 1 / (float(np.quantile(steep, SHARPEST_SHARE)) * np.sqrt(2 * np.pi))
    own = max(sigma_mm**2 - pixel_mm**2 / 3, 0.0)
    return float(np.clip(FWHM_PER_SIGMA * np.sqrt(own), *FWHM_RANGE_MM))


def _steepness(hu: Floats, pixel_mm: float) -> NDArray[np.float64]:
    """Return slope over height, in 1/mm, where a slice steps from air to soft tissue."""
    even = ndimage.gaussian_filter(hu, 0.7 / pixel_mm)
    side = 2 * round(PLATEAU_MM / pixel_mm) + 1
    low, high = ndimage.minimum_filter(even, side), ndimage.maximum_filter(even, side)
    down, across = np.gradient(hu, pixel_mm)
    slope = np.hypot(down, across)
    middle = np.abs(even - (low + high) / 2) < 0.15 * (high - low)
    is_edge = middle & (low > AIR_HU[0]) & (low < AIR_HU[1])
    is_edge &= (high > TISSUE_HU[0]) & (high < TISSUE_HU[1])
    is_edge &= slope == ndimage.maximum_filter(slope, 3)
    steep: NDArray[np.float64] = (slope / np.maximum(high - low, 1))[is_edge].astype(np.float64)
    return steep
