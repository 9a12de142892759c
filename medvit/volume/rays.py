"""Rays from a point: where they leave what it lies in, and the ball or circle they tell of."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.volume.volume import Hu

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

TRIMMED, ROUNDS = 1.25, 3
"""Crossings further out than so many radii of a fit belong to a vessel or the wall."""

SLACK = 0.6
FIRST_SHARE = 0.35
"""The first radius is this quantile: up to six rays of ten may run on into something else."""


def sphere(count: int) -> Floats:
    """Return directions (n, 3) spread evenly over a ball, along Fibonacci's spiral."""
    number = np.arange(count) + 0.5
    height = 1 - 2 * number / count
    angle = pi * (1 + sqrt(5)) * number
    across = np.sqrt(1 - height**2)
    return np.stack([height, across * np.sin(angle), across * np.cos(angle)], axis=1)


def circle(count: int) -> Floats:
    """Return directions (n, 3) all round in the plane of the last two axes."""
    angle = np.arange(count) * (2 * pi / count)
    return np.stack([np.zeros(count), np.sin(angle), np.cos(angle)], axis=1)


def along(hu: Hu, start: Floats, ways: Floats, steps: Floats) -> Floats:
    """Return values (n, r) along rays, linear between voxels; beyond the box the last one.

    Args:
        hu: (z, y, x).
        start: Voxel index (z, y, x) of the point the rays leave from.
        ways: (n, 3) directions.
        steps: (r,) distances in voxels.
    """
    places = start + ways[:, None] * steps[:, None]  # (n, r, 3)
    sampled = ndimage.map_coordinates(hu, np.moveaxis(places, -1, 0), order=1, mode="nearest")
    return np.asarray(sampled, np.float64)


def first_below(profiles: Floats, steps: Floats, level: float) -> Floats:
    """Return how far (n,) each ray stays at or above a level; infinite where it always does.

    Examples:
        >>> first_below(np.array([[9.0, 9, 1], [9, 9, 9]]), np.array([0.0, 1, 2]), 5.0).tolist()
        [1.5, inf]
    """
    below = profiles < level
    crosses = below.any(axis=1)
    at = np.where(crosses, below.argmax(axis=1), 1)
    rows = np.arange(len(profiles))
    inner, outer = profiles[rows, np.maximum(at - 1, 0)], profiles[rows, at]
    share = np.where(inner > outer, (inner - level) / np.maximum(inner - outer, 1e-9), 0.0)
    place = steps[np.maximum(at - 1, 0)] + np.clip(share, 0, 1) * (steps[1] - steps[0])
    return np.where(crosses, np.where(at == 0, 0.0, place), np.inf)


def fit_ball(ways: Floats, radii: Floats) -> tuple[Floats, float, Mask]:
    """Fit a ball, or a circle where all rays lie in a plane, to where rays end.

    Least squares on squared distances (Kasa 1976); what lies far outside of the last fit is
    left out of the next one.

    Args:
        ways: (n, 3) directions.
        radii: (n,) lengths; infinite where a ray has no end.

    Returns:
        Its centre seen from where the rays start, its radius, and which rays count.
    """
    centre, radius = np.zeros(3), float(np.quantile(radii, FIRST_SHARE, method="lower"))
    kept = np.zeros(len(radii), dtype=bool)
    if not np.isfinite(radius):
        return centre, 0.0, kept
    for _ in range(ROUNDS):
        expected = reach_of(ways, centre, radius)
        kept = radii < TRIMMED * expected + SLACK
        points = ways[kept] * radii[kept, None]
        flat = np.ptp(ways, axis=0) > 0
        system = np.column_stack([2 * points[:, flat], np.ones(len(points))])
        solved = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=1e-6)[0]
        centre = np.zeros(3)
        centre[flat] = solved[:-1]
        far = float(np.linalg.norm(centre))
        centre *= min(1.0, radius / 2 / max(far, 1e-9))
        radius = float(np.median(np.linalg.norm(points - centre, axis=1)))
    return centre, radius, kept


def reach_of(ways: Floats, centre: Floats, radius: float) -> Floats:
    """Return how far (n,) rays from the origin run until they leave a ball."""
    ahead = ways @ centre
    inside = np.maximum(radius**2 - float(centre @ centre) + ahead**2, 0.0)
    return np.maximum(ahead + np.sqrt(inside), 0.0)
