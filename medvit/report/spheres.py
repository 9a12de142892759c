"""The voxels of a sphere in a volume of any orientation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medvit.geometry import Affine, Triple, lps_to_index

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """A sphere as voxels of a box inside a volume.

    Attributes:
        start: Index `(z, y, x)` of the box's first voxel in the volume.
        inside: Which voxels of the box belong to the sphere, `(z, y, x)`.
    """

    start: tuple[int, int, int]
    inside: Bits

    def planes(self) -> list[int]:
        """Return the slices of the volume that hold a part of the sphere."""
        return [self.start[0] + int(z) for z in np.flatnonzero(self.inside.any(axis=(1, 2)))]

    def plane(self, z: int, shape: tuple[int, int]) -> Bits:
        """Return the sphere's part of a slice of the volume, `(y, x)`."""
        whole = np.zeros(shape, dtype=bool)
        _, y, x = self.start
        _, height, width = self.inside.shape
        whole[y : y + height, x : x + width] = self.inside[z - self.start[0]]
        return whole

    def meets(self, other: Ball) -> bool:
        """Whether two spheres share a voxel."""
        pairs = [
            (max(a, b), min(a + m, b + n))
            for a, m, b, n in zip(
                self.start, self.inside.shape, other.start, other.inside.shape, strict=True
            )
        ]
        if any(low >= high for low, high in pairs):
            return False
        return bool((self._part(pairs) & other._part(pairs)).any())

    def _part(self, pairs: list[tuple[int, int]]) -> Bits:
        z, y, x = (
            slice(low - start, high - start)
            for (low, high), start in zip(pairs, self.start, strict=True)
        )
        return self.inside[z, y, x]


def ball(
    affine_lps: Affine, shape: tuple[int, int, int], *, centre_lps_mm: Triple, radius_mm: float
) -> Ball:
    """Return the voxels whose centres lie in a sphere; at least the voxel nearest to its centre.

    Args:
        affine_lps: Of the volume; any one that spans space.
        shape: Of the volume; what sticks out is cut off.
        centre_lps_mm: Outside the volume, the nearest voxel of its border counts.
        radius_mm: Must be positive.

    Raises:
        ValueError: If the radius is not positive.
    """
    if not radius_mm > 0:
        msg = f"the radius of a sphere must be positive, got {radius_mm} mm"
        raise ValueError(msg)
    steps = affine_lps[:3, :3]
    middle = lps_to_index(affine_lps, centre_lps_mm)
    reach = radius_mm * np.linalg.norm(np.linalg.inv(steps), axis=1)
    most = np.array(shape) - 1
    nearest = np.clip(np.round(middle), 0, most).astype(int)
    low = np.minimum(np.clip(np.ceil(middle - reach), 0, most).astype(int), nearest)
    high = np.maximum(np.clip(np.floor(middle + reach), 0, most).astype(int), nearest)
    offsets = [np.arange(a, b + 1) - m for a, b, m in zip(low, high, middle, strict=True)]
    way_mm = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1) @ steps.T
    inside: Bits = (way_mm**2).sum(axis=-1) <= radius_mm**2
    inside[tuple(nearest - low)] = True
    return Ball((int(low[0]), int(low[1]), int(low[2])), inside)
