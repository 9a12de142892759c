"""A classical blob detector: what a learnt one has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from medvit.models.heads.centre import CentreMaps


class Blobs(nn.Module):
    """Scale-normalised Laplacian of Gaussian (Lindeberg 1998) at 1 mm, the rival.

    The score is the depth of the best response; the diameter follows from its scale,
    2 * sqrt(3) * sigma.
    """

    SIGMAS_MM = (1.0, 1.6, 2.5, 4.0, 6.3)
    stride = 2

    def forward(self, x: Tensor) -> CentreMaps:
        """Return maps over cells of 2 voxels."""
        volume = np.clip(x[0, 0].numpy() * 1.4, 0, 1)  # -1000..0 HU
        responses = np.stack(
            [-(sigma**2) * ndimage.gaussian_laplace(volume, sigma) for sigma in self.SIGMAS_MM]
        )
        best = responses.argmax(axis=0)
        depth = responses.max(axis=0)
        cells, places = _strongest(depth)
        sigma = np.array(self.SIGMAS_MM)[best].ravel()[places]
        offset = np.stack(np.unravel_index(places, depth.shape)).astype(np.float32)
        grid = np.stack(np.indices(cells.shape))
        offset = (offset + 0.5) / 2 - 0.5 - grid
        heat = np.log(np.maximum(cells, 1e-6) / np.maximum(1 - cells, 1e-6))
        diameter = np.log(2 * np.sqrt(3) * sigma)
        return CentreMaps(_map(heat[None]), _map(diameter[None]), _map(offset))


def _strongest(depth: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the strongest voxel of each 2x2x2 cell and its flat index."""
    d, h, w = (length // 2 for length in depth.shape)
    index = np.arange(depth.size).reshape(depth.shape)

    def cells(a: NDArray[Any]) -> NDArray[Any]:
        return a.reshape(d, 2, h, 2, w, 2).transpose(0, 2, 4, 1, 3, 5).reshape(d, h, w, 8)

    pick = cells(depth).argmax(axis=-1)[..., None]
    strongest = np.take_along_axis(cells(depth), pick, -1)[..., 0]
    return strongest, np.take_along_axis(cells(index), pick, -1)[..., 0]


def _map(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
