"""The shape of a made nodule: a lobulated ball with spicules, as partial volumes on any grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]

FINEST_MM = 1.0
FWHM_PER_SIGMA = 2.3548


@dataclass(frozen=True, slots=True)
class Shape:
    """What makes one lesion's outline; lengths in mm, directions as unit (z, y, x).

    Attributes:
        radius_mm: Half the mean diameter in the axial plane through the centre.
        bump_axes: (k, 3) directions of the harmonics.
        bump_orders: (k,) 2 to 5.
        bump_heights: (k,) share of the radius.
        spicule_axes: (n, 3) directions of the spicules.
        spicule_mm: (n, 2) length beyond the surface and width at the root.
    """

    radius_mm: float
    bump_axes: Floats
    bump_orders: NDArray[np.intp]
    bump_heights: Floats
    spicule_axes: Floats
    spicule_mm: Floats

    @property
    def reach_mm(self) -> float:
        """Distance from the centre beyond which nothing of the lesion lies."""
        bumps = 1 + float(np.abs(self.bump_heights).sum())
        longest = float(self.spicule_mm[:, 0].max()) if len(self.spicule_mm) else 0.0
        return self.radius_mm * bumps + longest


def draw_shape(
    rng: np.random.Generator, *, diameter_mm: float, lobulation: float, n_spicules: int
) -> Shape:
    """Draw an outline whose mean in-plane diameter is the one asked for.

    Args:
        lobulation: Standard deviation of the radius over directions, as a share of it.
    """
    orders = np.array([2, 2, 3, 3, 3, 4, 5, 5])
    axes = _directions(rng, len(orders))
    heights = (rng.standard_normal(len(orders)) / orders).astype(np.float32)
    ring = _ring(180)
    over_ring = _bumps(ring, axes, orders, heights)
    heights *= lobulation / max(float(over_ring.std()), 0.25 * float(np.abs(heights).sum()))
    mean_square = float(np.mean((1 + _bumps(ring, axes, orders, heights)) ** 2))
    radius_mm = diameter_mm / 2
    lengths_mm = rng.uniform(1.5, 2.5 + 0.6 * radius_mm, n_spicules)
    widths_mm = rng.uniform(1.0, 2.0, n_spicules)
    return Shape(
        radius_mm / np.sqrt(mean_square),
        axes,
        orders,
        heights,
        _directions(rng, n_spicules),
        np.stack([lengths_mm, widths_mm], axis=1).astype(np.float32),
    )


def cover(shape: Shape, offsets_mm: tuple[Floats, Floats, Floats], edge_mm: float) -> Floats:
    """Return how much of each point, taken as `edge_mm` wide, lies inside the outline.

    Args:
        offsets_mm: Open grids of (z, y, x) distances from the centre.
    """
    z, y, x = offsets_mm
    far = np.sqrt(z * z + y * y + x * x)
    unit = 1 / np.maximum(far, np.float32(1e-3))
    radius = np.full(far.shape, shape.radius_mm, np.float32)
    for axis, order, height in zip(
        shape.bump_axes, shape.bump_orders, shape.bump_heights, strict=True
    ):
        cosine = (z * axis[0] + y * axis[1] + x * axis[2]) * unit
        radius += np.float32(shape.radius_mm * height) * _legendre(cosine, int(order))
    inside = np.clip(0.5 - (far - radius) / np.float32(edge_mm), 0, 1)
    for axis, (length_mm, width_mm) in zip(shape.spicule_axes, shape.spicule_mm, strict=True):
        along = z * axis[0] + y * axis[1] + x * axis[2]
        across = np.sqrt(np.maximum(far * far - along * along, 0))
        tip_mm = shape.radius_mm + length_mm
        # As wide as told at the surface, a third of that at the tip.
        left = (tip_mm - along) / np.float32(length_mm)
        half_mm = width_mm / 2 * np.clip(0.33 + 0.67 * left, 0, 1.6) * (left > 0)
        spike = np.clip(0.5 - (across - half_mm) / np.float32(edge_mm), 0, 1) * (half_mm > 0)
        np.maximum(inside, spike * (along > shape.radius_mm / 2), out=inside)
    covered: Floats = inside.astype(np.float32)
    return covered


@dataclass(frozen=True, slots=True)
class Raster:
    """The voxels of a box about a lesion, and the scanner that sees them.

    Attributes:
        first_mm: Offset of the first voxel from the lesion's centre, (z, y, x).
        counts: Voxels of the box.
        spacing_mm: Spacing (z, y, x).
        psf_fwhm_mm: Blur (z, y, x).
    """

    first_mm: Triple
    counts: tuple[int, int, int]
    spacing_mm: Triple
    psf_fwhm_mm: Triple


Cover = Callable[[tuple[Floats, Floats, Floats], float], Floats]
"""The share inside at open grids of offsets from the centre, for points of a width in mm."""


def blurred_cover(covered: Cover, raster: Raster) -> Floats:
    """Return the share of lesion in each voxel of a box, as a scanner with this blur sees it."""
    spacing_mm, psf_fwhm_mm, counts = raster.spacing_mm, raster.psf_fwhm_mm, raster.counts
    offsets: list[Floats] = []
    sigmas, steps = [], []
    for axis in range(3):
        # Odd, so that a fine point lies on each voxel's centre.
        fine = 2 * round((spacing_mm[axis] / FINEST_MM - 1) / 2) + 1
        fine = max(1, fine)
        pitch_mm = spacing_mm[axis] / fine
        margin = round(3 * psf_fwhm_mm[axis] / FWHM_PER_SIGMA / pitch_mm / fine) * fine
        points = np.arange(-margin, (counts[axis] - 1) * fine + margin + 1)
        shape_of_axis = [1, 1, 1]
        shape_of_axis[axis] = len(points)
        offsets.append(
            (raster.first_mm[axis] + points * pitch_mm).astype(np.float32).reshape(shape_of_axis)
        )
        sigmas.append(psf_fwhm_mm[axis] / FWHM_PER_SIGMA / pitch_mm)
        steps.append(slice(margin, margin + (counts[axis] - 1) * fine + 1, fine))
    edge_mm = min(FINEST_MM, *spacing_mm)
    sharp = covered((offsets[0], offsets[1], offsets[2]), edge_mm)
    seen = ndimage.gaussian_filter(sharp, sigmas, mode="constant", truncate=3)
    sampled: Floats = seen[tuple(steps)]
    return sampled


def _directions(rng: np.random.Generator, count: int) -> Floats:
    vectors = rng.standard_normal((count, 3))
    units: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return units


def _ring(count: int) -> Floats:
    """Return directions all round in the axial plane."""
    angle = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.zeros(count), np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def _bumps(units: Floats, axes: Floats, orders: NDArray[np.intp], heights: Floats) -> Floats:
    cosines = units @ axes.T
    terms = [_legendre(cosines[:, k], int(order)) for k, order in enumerate(orders)]
    total: Floats = np.stack(terms, axis=1) @ heights
    return total


def _legendre(cosine: Floats, order: int) -> Floats:
    """Return a Legendre polynomial of order 2 or more, by Bonnet's recursion."""
    before: Floats = np.ones_like(cosine)
    now = cosine
    for n in range(1, order):
        higher = (np.float32(2 * n + 1) * cosine * now - np.float32(n) * before) / np.float32(n + 1)
        before, now = now, np.asarray(higher, np.float32)
    return now
