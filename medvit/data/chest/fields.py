"""Signed distances in mm, negative inside, and how to join them smoothly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Space:
    """A grid of points in the patient's own frame, x to the left, y to the back, z up.

    Attributes:
        origin_mm: Position (z, y, x) of the first voxel in the frame of the grid.
        step_mm: Spacing (z, y, x).
        shape: Voxels (z, y, x).
        turn: Angle in radians between grid and patient about the z axis.
    """

    origin_mm: Triple
    step_mm: Triple
    shape: tuple[int, int, int]
    turn: float = 0.0

    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Return open grids of the patient's z (z,1,1), y (1,y,x) and x (1,y,x)."""
        z, y, x = (
            (start + step * np.arange(count)).astype(np.float32)
            for start, step, count in zip(self.origin_mm, self.step_mm, self.shape, strict=True)
        )
        cos, sin = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        down, across = y[None, :, None], x[None, None, :]
        return z[:, None, None], cos * down - sin * across, sin * down + cos * across

    def to_index(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return voxel indices (n, 3) of points (n, 3) in the patient's frame, both z, y, x."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        z, y, x = points_mm[:, 0], points_mm[:, 1], points_mm[:, 2]
        grid = np.stack([z, cos * y + sin * x, cos * x - sin * y], axis=1)
        index: NDArray[np.float64] = (grid - self.origin_mm) / self.step_mm
        return index

    def coarser(self, step_mm: float) -> Space:
        """Return a coarser grid that covers this one."""
        steps = [max(step_mm, own) for own in self.step_mm]
        counts = [
            int(np.ceil((count - 1) * own / step)) + 1
            for count, own, step in zip(self.shape, self.step_mm, steps, strict=True)
        ]
        return Space(
            self.origin_mm,
            (steps[0], steps[1], steps[2]),
            (counts[0], counts[1], counts[2]),
            self.turn,
        )


def ellipsoid(axes: tuple[Floats, Floats, Floats], centre: Triple, radii: Triple) -> Floats:
    """Return the approximate distance to an ellipsoid; centre and radii are (z, y, x) mm."""
    scaled = [
        (axis - np.float32(at)) / np.float32(r)
        for axis, at, r in zip(axes, centre, radii, strict=True)
    ]
    near = np.sqrt(sum(s * s for s in scaled))
    slope = np.sqrt(sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, radii, strict=True)))
    distance: Floats = near * (near - 1) / np.maximum(slope, np.float32(1e-4))
    return distance


def smooth_max(a: Floats, b: Floats, width_mm: float) -> Floats:
    """Return the larger of two distances with the corner rounded over `width_mm`."""
    apart = np.maximum(np.float32(width_mm) - np.abs(a - b), 0)
    rounded: Floats = np.maximum(a, b) + apart * apart / np.float32(4 * width_mm)
    return rounded


def smooth_min(a: Floats, b: Floats, width_mm: float) -> Floats:
    """Return the smaller of two distances with the corner filled over `width_mm`."""
    return -smooth_max(-a, -b, width_mm)


def filled(distance: Floats, edge_mm: float) -> Floats:
    """Return the share of a voxel inside a surface, for an edge `edge_mm` wide."""
    share: Floats = np.clip(np.float32(0.5) - distance / np.float32(edge_mm), 0, 1)
    return share


def ramp(values: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth step between.

    Examples:
        >>> ramp(np.array([0.0, 5.0, 10.0], np.float32), 0, 10).tolist()
        [0.0, 0.5, 1.0]
    """
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    step: Floats = t * t * (3 - 2 * t)
    return step


def rolling(
    rng: np.random.Generator, space: Space, *, scale_mm: float, coarse_mm: float = 8.0
) -> Floats:
    """Return a smooth random field of mean 0 and spread 1 with bumps of about `scale_mm`."""
    coarse = space.coarser(min(coarse_mm, scale_mm / 2))
    white = rng.standard_normal(coarse.shape, dtype=np.float32)
    sigmas = [0.4 * scale_mm / step for step in coarse.step_mm]
    smooth = ndimage.gaussian_filter(white, sigmas, mode="nearest", truncate=3)
    smooth /= max(float(smooth.std()), 1e-6)
    return refine(smooth, coarse, space)


def refine(values: Floats, coarse: Space, fine: Space) -> Floats:
    """Return a field of the coarse grid on the fine one, linearly; both share their origin."""
    for axis in (2, 1, 0):
        at = np.arange(fine.shape[axis]) * (fine.step_mm[axis] / coarse.step_mm[axis])
        low = np.minimum(at.astype(np.intp), max(coarse.shape[axis] - 2, 0))
        high = np.minimum(low + 1, coarse.shape[axis] - 1)
        form = [1, 1, 1]
        form[axis] = -1
        weight = (at - low).astype(np.float32).reshape(form)
        below = np.take(values, low, axis=axis)
        above = np.take(values, high, axis=axis)
        above -= below
        above *= weight
        above += below
        values = above
    return values
