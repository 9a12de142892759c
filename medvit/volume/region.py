"""A coarse mask with its place in the patient: which points and boxes it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.geometry import Affine, lps_to_index
from medvit.volume.morphology import Mask
from medvit.volume.resample import IsotropicGrid

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Part of the patient, as voxels.

    Attributes:
        mask: (z, y, x) what belongs to it.
        affine_lps: 4x4, maps (z, y, x, 1) of the mask to (x, y, z, 1) in LPS mm.
    """

    mask: Mask
    affine_lps: Affine

    def contains(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points (n, 3) in LPS mm fall on a voxel of the region."""
        index = np.rint(lps_to_index(self.affine_lps, points_lps_mm)).astype(np.intp)
        inside = np.all((index >= 0) & (index < self.mask.shape), axis=-1)
        safe = np.where(inside[..., None], index, 0)
        return np.asarray(inside & self.mask[safe[..., 0], safe[..., 1], safe[..., 2]])

    def touches(self, box: Box, *, on: IsotropicGrid) -> bool:
        """Return whether a box of grid voxels reaches into the region."""
        edges = np.array([[s.start - 0.5 for s in box], [s.stop - 0.5 for s in box]])
        low, high = self._from_grid(edges, on)
        inside = tuple(
            slice(max(0, int(np.floor(a + 0.5))), max(0, int(np.ceil(b + 0.5))))
            for a, b in zip(low, high, strict=True)
        )
        return bool(self.mask[inside].any())

    def box_on(self, grid: IsotropicGrid) -> Box | None:
        """Return the smallest box of grid voxels that holds the region; None if it is empty."""
        if not self.mask.any():
            return None
        used = np.argwhere(self.mask)
        edges = np.array([used.min(axis=0) - 0.5, used.max(axis=0) + 0.5])
        scale, shift = self._scale_and_shift(grid)
        low, high = (edges - shift) / scale + 0.5
        z, y, x = (
            slice(max(0, int(np.floor(a))), min(n, int(np.ceil(b))))
            for a, b, n in zip(low, high, grid.shape, strict=True)
        )
        return z, y, x

    def _from_grid(self, index: NDArray[np.float64], grid: IsotropicGrid) -> NDArray[np.float64]:
        scale, shift = self._scale_and_shift(grid)
        return index * scale + shift

    def _scale_and_shift(
        self, grid: IsotropicGrid
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how a grid index becomes a mask index, axis by axis.

        Raises:
            ValueError: If mask and grid do not share their axes.
        """
        between = np.linalg.inv(self.affine_lps) @ grid.affine_lps
        scale = between[:3, :3].diagonal()
        if not np.allclose(between[:3, :3], np.diag(scale), atol=1e-6) or (scale <= 0).any():
            msg = f"mask and grid must share their axes, got {between[:3, :3].round(3).tolist()}"
            raise ValueError(msg)
        return scale, between[:3, 3]
