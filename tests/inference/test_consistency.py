"""A mark looked at again: what the looks share, and what they do not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from medvit.geometry import affine_from
from medvit.inference.consistency import look_again
from medvit.models.heads.centre import CentreMaps
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import volume_of


class Brightness(nn.Module):
    """Says how bright a cell of two voxels is; on demand only where x rises."""

    stride = 2

    def __init__(self, *, one_sided: bool) -> None:
        super().__init__()
        self.one_sided = one_sided

    def forward(self, x: Tensor) -> CentreMaps:
        heat = F.avg_pool3d(x, 2) * 8 - 4
        if self.one_sided:
            heat = heat + 4 * torch.linspace(0, 1, heat.shape[-1])
        return CentreMaps(heat, heat, heat.expand(-1, 3, -1, -1, -1))


def grid_with_ball(centre_x: int) -> VoxelGrid:
    axes = np.ogrid[:48, :48, :48]
    away = sum((axis - c) ** 2 for axis, c in zip(axes, (24, 24, centre_x), strict=True))
    hu = np.where(np.asarray(away) < 16, 0.0, -850.0)
    affine = affine_from((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    return VoxelGrid.of(volume_of(hu, affine), 1.0)


def test_a_model_that_sees_the_same_mirrored_says_the_same() -> None:
    scores = look_again(grid_with_ball(24), Brightness(one_sided=False), (24.0, 24.0, 24.0), 8.0)
    assert scores.shape == (3,)
    assert scores.std() < 1e-6
    assert scores[0] > 0.8


def test_a_model_that_hangs_on_the_side_is_found_out() -> None:
    ball = grid_with_ball(30)
    scores = look_again(ball, Brightness(one_sided=True), (24.0, 24.0, 24.0), 12.0)
    assert scores.std() > 0.01
    assert scores[0] == scores[1]


def test_beyond_the_scan_is_air_and_no_error() -> None:
    scores = look_again(grid_with_ball(24), Brightness(one_sided=False), (-2.0, 24.0, 90.0), 8.0)
    assert scores.max() < 0.1
