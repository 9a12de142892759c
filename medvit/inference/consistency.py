"""How far a detector agrees with itself: a mark looked at again, mirrored."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medvit.geometry import Triple, lps_to_index
from medvit.inference.one_thread import one_thread
from medvit.inference.tile_search import SCALE
from medvit.volume.resample import VoxelGrid

SIDE = 32
"""Voxels along the edge of what is looked at: three looks cost about a seventh of a tile of 96."""

LOOKS: tuple[tuple[int, ...], ...] = ((), (0,), (2,))
"""Axes along which each look is mirrored."""

LEAST_REACH = 3
"""The peak of a look is sought this many voxels around the mark, or a radius."""


def look_again(
    grid: VoxelGrid, model: nn.Module, centre_lps_mm: Triple, diameter_mm: float
) -> NDArray[np.float64]:
    """Return the scores (3,) of the box around a mark: as it is, mirrored along z, along x.

    A score is the largest within the lesion's radius. What lies beyond the box is not seen,
    so scores differ from that of the search; how far they differ from each other tells how
    far the detector can be trusted at this place.

    Args:
        grid: As the search reads it.
        model: Returns `CentreMaps`; in evaluation mode.
        centre_lps_mm: The mark.
        diameter_mm: Of the lesion.

    Raises:
        ReadError: If the voxels cannot be read.
    """
    middle = np.rint(lps_to_index(grid.affine_lps, centre_lps_mm)).astype(int)
    z, y, x = (slice(int(at) - SIDE // 2, int(at) + SIDE // 2) for at in middle)
    hu = grid.read(z, y, x, scale=SCALE)
    looks = np.stack([np.flip(hu, axes) if axes else hu for axes in LOOKS])[:, None]
    device = next(model.parameters(), torch.empty(0)).device
    with one_thread(), torch.inference_mode():
        heat = model(torch.from_numpy(looks).to(device)).heat[:, 0].float().cpu().numpy()
    cells = heat.shape[-1]
    voxel_mm = grid.spacing_mm[0]
    reach = ceil(max(LEAST_REACH, diameter_mm / 2 / voxel_mm) * cells / SIDE)
    near = slice(max(0, cells // 2 - reach), cells // 2 + reach)
    peaks = heat[:, near, near, near].max(axis=(1, 2, 3)).astype(np.float64)
    return np.asarray(1 / (1 + np.exp(-peaks)))
