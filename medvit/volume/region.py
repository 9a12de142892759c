"""A coarse mask with its place in the patient: which points and boxes it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.geometry import Affine, lps_to_index
from medvit.volume.morphology import Mask
from medvit.volume.resample import VoxelGrid

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

    def touches(self, box: Box, *, on: VoxelGrid) -> bool:
        """Return whether a box of grid voxels reaches into the region."""
        return bool(self.mask[self._from_grid(box, on)].any())

    def box_on(self, grid: VoxelGrid) -> Box | None:
        """Return the smallest box of grid voxels that holds the region; None if it is empty."""
        z, y, x = (slice(0, length) for length in grid.shape)
        return self.box_within((z, y, x), on=grid)

    def box_within(self, box: Box, *, on: VoxelGrid) -> Box | None:
        """Return the smallest part of a box of grid voxels that holds all of the region in it.

        None if nothing of the region is in the box.
        """
        parts = [self.runs_within(box, axis, on=on) for axis in range(3)]
        if not all(parts):
            return None
        z, y, x = (slice(runs[0].start, runs[-1].stop) for runs in parts)
        return z, y, x

    def runs_within(self, box: Box, axis: int, *, on: VoxelGrid) -> list[slice]:
        """Return the ranges of grid voxels along one axis where a box holds region.

        Args:
            box: Half-open ranges (z, y, x) of grid voxels.
            axis: 0 for z, 1 for y, 2 for x.
            on: The grid whose voxels are counted.
        """
        inside = self._from_grid(box, on)
        others = tuple(other for other in range(3) if other != axis)
        used = self.mask[inside].any(axis=others)
        if not used.any():
            return []
        steps = np.flatnonzero(np.diff(np.concatenate([[False], used, [False]])))
        edges = steps + inside[axis].start - 0.5  # starts and stops take turns
        scale, shift = self._scale_and_shift(on)
        on_grid = (edges - shift[axis]) / scale[axis] + 0.5
        low = np.maximum(np.floor(on_grid[::2] + 1e-9), max(0, box[axis].start))
        high = np.minimum(np.ceil(on_grid[1::2] - 1e-9), min(on.shape[axis], box[axis].stop))
        return [slice(int(a), int(b)) for a, b in zip(low, high, strict=True) if a < b]

    def litres_within(self, box: Box, *, on: VoxelGrid) -> float:
        """Return about how much of the region a box of grid voxels holds, by whole voxels."""
        voxel_mm3 = abs(float(np.linalg.det(self.affine_lps[:3, :3])))
        return int(self.mask[self._from_grid(box, on)].sum()) * voxel_mm3 / 1e6

    def on_grid(self, box: Box, *, on: VoxelGrid) -> Mask:
        """Return which voxels of a grid's box have their centre in the region."""
        scale, shift = self._scale_and_shift(on)
        places, known = [], []
        for part, factor, offset, length in zip(box, scale, shift, self.mask.shape, strict=True):
            at = np.rint(np.arange(part.start, part.stop) * factor + offset).astype(np.intp)
            known.append((at >= 0) & (at < length))
            places.append(np.clip(at, 0, length - 1))
        inside: Mask = self.mask[np.ix_(*places)]
        return np.asarray(inside & known[0][:, None, None] & known[1][:, None] & known[2])

    def _from_grid(self, box: Box, grid: VoxelGrid) -> Box:
        """Return the mask voxels that a box of grid voxels shares volume with."""
        edges = np.array([[s.start - 0.5 for s in box], [s.stop - 0.5 for s in box]])
        scale, shift = self._scale_and_shift(grid)
        low, high = edges * scale + shift + 0.5
        z, y, x = (
            slice(max(0, int(np.floor(a + 1e-9))), max(0, int(np.ceil(b - 1e-9))))
            for a, b in zip(low, high, strict=True)
        )
        return z, y, x

    def _scale_and_shift(self, grid: VoxelGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
