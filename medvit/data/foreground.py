"""Where a scan is worth a look in training: the patient, and the air inside the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvit.data.packed_mask import PackedMask
from medvit.geometry import Affine, index_to_lps
from medvit.volume.morphology import Mask, fill_slices, largest_component, open_slices
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Hu, Volume

COARSE_MM = 6.0
SLAB_VOXELS = 8
BODY_HU, AERATED_HU = -500.0, -600.0


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """Two coarse masks of a scan; a chest takes about 40 KiB.

    Attributes:
        body: (z, y, x), never empty: the whole grid where no body is found.
        lungs: (z, y, x), air inside the body; may be empty.
        affine_lps: 4x4, maps (z, y, x, 1) of a mask to (x, y, z, 1) in LPS mm.
    """

    body: PackedMask
    lungs: PackedMask
    affine_lps: Affine

    def draw_centre(
        self, rng: np.random.Generator, *, lungs_share: float
    ) -> tuple[float, float, float]:
        """Return a point (x, y, z) in LPS mm, uniform over the lungs or over the body.

        Args:
            lungs_share: Probability of the lungs; without lungs it is the body's.
        """
        in_lungs = rng.random() < lungs_share
        places = np.flatnonzero(self.lungs.all()) if in_lungs else np.empty(0, np.intp)
        if not places.size:
            places = np.flatnonzero(self.body.all())
        voxel = np.unravel_index(places[int(rng.integers(places.size))], self.body.shape)
        index = np.array(voxel) + rng.uniform(-0.5, 0.5, size=3)
        x_mm, y_mm, z_mm = index_to_lps(self.affine_lps, index).tolist()
        return x_mm, y_mm, z_mm


def find_foreground(volume: Volume) -> Foreground:
    """Locate body and lungs at 6 mm; every slice is read once, in slabs.

    The table is a part of its own and falls away; lungs that the image border cuts
    are not filled and count as outside.

    Raises:
        ReadError: If a slice cannot be read.
    """
    grid = VoxelGrid.of(volume, COARSE_MM)
    hu = _read_in_slabs(grid)
    body = _body(hu)
    lungs: Mask = body & (hu < AERATED_HU)
    if not body.any():
        body = np.ones_like(body)
    return Foreground(PackedMask.of(body), PackedMask.of(lungs), grid.affine_lps)


def _body(hu: NDArray[np.float32]) -> Mask:
    tissue = hu > BODY_HU
    opened = open_slices(tissue, 1.2 * COARSE_MM, spacing_mm=COARSE_MM)
    return fill_slices(largest_component(opened if opened.any() else tissue))


def _read_in_slabs(grid: VoxelGrid) -> Hu:
    depth, height, width = grid.shape
    hu = np.empty(grid.shape, dtype=np.float32)
    for start in range(0, depth, SLAB_VOXELS):
        slab = slice(start, min(start + SLAB_VOXELS, depth))
        hu[slab] = grid.read(slab, slice(0, height), slice(0, width))
    return hu
