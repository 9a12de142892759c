"""Which lung a point lies in, and how high in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.geometry import Affine, Triple, lps_to_index
from medvit.volume.lungs import LungMap
from medvit.volume.morphology import Mask

Side = Literal["left", "right", ""]
Third = Literal["upper", "middle", "lower", ""]

RIGHT, LEFT = 1, 2
VALLEY_SHARE = 0.6
"""Between two lungs a sagittal plane holds less than this share of the fullest one."""

ONE_SIDED = 0.9
"""A part with so much of it on one side of the midline belongs to that lung whole."""

CUT_SHARE = 0.1
"""An end slice with more lung than this share of the fullest slice cuts the lungs."""


@dataclass(frozen=True, slots=True, eq=False)
class LungSides:
    """The two lungs of a scan on its coarse grid.

    Attributes:
        nearest: (z, y, x) `RIGHT` or `LEFT`, by the lung a voxel lies in or nearest to; empty
            when the lungs cannot be told apart.
        thirds_z: Slices at which a third and two thirds of the volume of both lungs lie
            below; None when the scan does not hold whole lungs.
        affine_lps: 4x4, of that grid.
    """

    nearest: NDArray[np.uint8]
    thirds_z: tuple[float, float] | None
    affine_lps: Affine

    def side_of(self, point_lps_mm: Triple) -> Side:
        """Return the patient's side; empty when the lungs cannot be told apart."""
        if not self.nearest.size:
            return ""
        index = np.rint(lps_to_index(self.affine_lps, point_lps_mm)).astype(int)
        z, y, x = np.clip(index, 0, np.array(self.nearest.shape) - 1)
        return "right" if self.nearest[z, y, x] == RIGHT else "left"

    def third_of(self, point_lps_mm: Triple) -> Third:
        """Return the third by lung volume, counted upwards; empty without whole lungs."""
        if self.thirds_z is None:
            return ""
        height = float(lps_to_index(self.affine_lps, point_lps_mm)[0])
        low, high = self.thirds_z
        return "lower" if height < low else "middle" if height < high else "upper"


def find_sides(lungs: LungMap) -> LungSides:
    """Tell the right lung of a scan from the left one, and thirds of equal volume.

    Between the lungs lies the sagittal plane that holds least of them. A part of the mask
    that is nearly all on one side of it is that lung, also where it reaches across; lungs
    that touch are divided there. Lobes are not told: no fissure is looked for.
    """
    sides = _sides(lungs.mask)
    return LungSides(sides, _thirds(lungs.mask), lungs.affine_lps)


def _sides(mask: Mask) -> NDArray[np.uint8]:
    nothing = np.zeros((0, 0, 0), np.uint8)
    midline = _midline(mask)
    if midline is None:
        return nothing
    sides = np.where(np.arange(mask.shape[2]) < midline, RIGHT, LEFT).astype(np.uint8)
    own = np.where(mask, sides, np.uint8(0))  # (z, y, x)
    labels, count = ndimage.label(mask)
    left = np.bincount(labels[own == LEFT], minlength=count + 1)
    share = left / np.maximum(np.bincount(labels.ravel(), minlength=count + 1), 1)
    own[(share[labels] > ONE_SIDED) & mask] = LEFT
    own[(share[labels] < 1 - ONE_SIDED) & mask] = RIGHT
    place = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return np.asarray(own[tuple(place)])


def _midline(mask: Mask) -> float | None:
    """Return the x between the lungs; None when there is nothing like a gap."""
    counts = mask.sum(axis=(0, 1)).astype(np.float64)
    total = np.cumsum(counts)
    if total[-1] == 0:
        return None
    low, high = np.searchsorted(total, [0.2 * total[-1], 0.8 * total[-1]])
    valley = counts[low : high + 1]
    if valley.min() > VALLEY_SHARE * min(counts[: low + 1].max(), counts[high:].max()):
        return None
    lowest = np.flatnonzero(valley == valley.min())
    return float(low + lowest.mean())


def _thirds(mask: Mask) -> tuple[float, float] | None:
    counts = mask.sum(axis=(1, 2)).astype(np.float64)
    most = counts.max(initial=0.0)
    if most == 0 or max(counts[0], counts[-1]) > CUT_SHARE * most:
        return None
    below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    edges = np.arange(len(counts) + 1) - 0.5
    low, high = np.interp([1 / 3, 2 / 3], below, edges).tolist()
    return low, high
