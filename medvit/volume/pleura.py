"""How far a point is from the surface of the lungs, finer than the voxels of their mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from medvit.geometry import Triple, lps_to_index
from medvit.volume.lungs import LungMap

Floats = NDArray[np.float64]

SMOOTH_VOXELS = 1.0
NEAR = 6
"""Points of the surface that are looked at; the nearest one alone is up to a voxel aside."""

BETWEEN = 0.7
"""How far, in voxels, the surface runs from its nearest point at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Pleura:
    """The surface of the lungs as points with their normals; vessels and fissures are not in it.

    Attributes:
        points_mm: (n, 3) on the grid of the mask, (z, y, x) in mm.
        normals: (n, 3) of unit length, outwards.
        tree: To look points up.
    """

    lungs: LungMap
    points_mm: Floats
    normals: Floats
    tree: cKDTree

    def depth_mm(self, point_lps_mm: Triple) -> float | None:
        """Return how deep in the lung a point lies; negative outside, None without lungs.

        The surface between its points is taken as flat, so the answer is finer than they
        are dense.
        """
        if not len(self.points_mm):
            return None
        place = lps_to_index(self.lungs.affine_lps, point_lps_mm) * self.lungs.spacing_mm
        away_mm, rows = self.tree.query(place, k=min(NEAR, len(self.points_mm)))
        way = self.points_mm[np.atleast_1d(rows)] - place  # (k, 3)
        heights = np.einsum("kj,kj->k", way, self.normals[np.atleast_1d(rows)])
        nearest = float(np.atleast_1d(away_mm)[0])
        # The surface may come nearer than its points do, by what lies between two of them.
        least = max(nearest**2 - (BETWEEN * self.lungs.spacing_mm) ** 2, 0.0) ** 0.5
        depth_mm = float(np.clip(np.median(np.abs(heights)), least, nearest))
        return depth_mm if heights[0] >= 0 else -depth_mm


def find_pleura(lungs: LungMap) -> Pleura:
    """Lay a surface around the lungs, the mediastinal side included.

    The mask is smoothed by a voxel and cut at one half, along each axis between voxels.
    Where the scan ends there is no surface.
    """
    soft = ndimage.gaussian_filter(
        lungs.mask.astype(np.float32), SMOOTH_VOXELS, mode="nearest", truncate=3
    )
    points, normals = [np.empty((0, 3))], [np.empty((0, 3))]
    slopes = None
    for axis in range(3):
        low = np.moveaxis(soft, axis, 0)[:-1]
        high = np.moveaxis(soft, axis, 0)[1:]
        crosses = np.moveaxis((low >= 0.5) != (high >= 0.5), 0, axis)
        at = np.argwhere(crosses)
        if not len(at):
            continue
        ahead = at.copy()
        ahead[:, axis] += 1
        near, far = soft[tuple(at.T)], soft[tuple(ahead.T)]
        place = at.astype(np.float64)
        place[:, axis] += (near - 0.5) / (near - far)
        slopes = np.gradient(soft) if slopes is None else slopes
        slope = np.stack([ndimage.map_coordinates(s, place.T, order=1) for s in slopes], axis=1)
        length = np.linalg.norm(slope, axis=1)
        sound = length > 1e-3
        points.append(place[sound] * lungs.spacing_mm)
        normals.append(-slope[sound].astype(np.float64) / length[sound, None])
    found = np.concatenate(points)
    return Pleura(lungs, found, np.concatenate(normals), cKDTree(found))
